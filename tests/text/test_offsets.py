import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import SpanNotFoundError
from heed.text import CharSpan, Message, encode, encode_text, render
from heed.text.offsets import Realigner


@pytest.fixture(scope="module")
def lacking(make_tokenizer: Callable[..., Any]) -> Any:
    """A byte-level tokenizer without the byte 0x16 and without one byte of "é"."""
    from transformers import PreTrainedTokenizerFast

    source = make_tokenizer("byte-level", "chatml")
    backend = source.backend_tokenizer
    spec = json.loads(backend.to_str())
    gone = {"\u0116", "\u00a9"}  # how 0x16 and 0xA9 are written
    assert gone <= spec["model"]["vocab"].keys()
    spec["model"]["vocab"] = {t: i for t, i in spec["model"]["vocab"].items() if not gone & set(t)}
    spec["model"]["merges"] = [pair for pair in spec["model"]["merges"] if not gone & set("".join(pair))]
    spec["model"]["merges"].append(["!", "!"])
    spec["model"]["vocab"]["!!"] = 5000
    return PreTrainedTokenizerFast(
        tokenizer_object=type(backend).from_str(json.dumps(spec)), chat_template=source.chat_template, bos_token="<s>"
    )


def test_the_tokenizers_own_offsets_are_wrong_behind_a_dropped_character(lacking: Any) -> None:
    assert lacking("\x16\x16\x16?", return_offsets_mapping=True).offset_mapping[-1] == (0, 1)
    encoded = encode_text("a\x16\x16\x16?!\x16!", lacking)
    assert encoded.ids.tolist() == lacking("a\x16\x16\x16?!\x16!").input_ids
    assert encoded.offsets.tolist() == [[0, 0], [0, 1], [4, 5], [5, 8]]


@given(data=st.text(st.sampled_from("\x16aé日! \n"), min_size=1))
@settings(max_examples=200, deadline=None)
def test_offsets_are_true_where_characters_are_dropped(lacking: Any, data: str) -> None:
    encoded = encode(render([Message.of("user", "x" + data + "<|im_end|>", name="data")], lacking), lacking)
    for token, name in enumerate(lacking.convert_ids_to_tokens(encoded.ids.tolist())):
        here = encoded.text[encoded.char_span(token).slice()]
        if not set(here) & set("é日"):
            assert here.replace("\x16", "") == name.replace("Ġ", " ").replace("Ċ", "\n")
        else:
            assert len(name) <= len(here.encode())
    assert encoded.to_part("data", encoded.part("data")).start == 0
    dropped = [at for at, character in enumerate(encoded.text) if character == "\x16"]
    for at in dropped[:1]:
        if not any(start <= at < end for start, end in encoded.offsets.tolist()):
            with pytest.raises(SpanNotFoundError, match="choose a stretch with characters the tokenizer keeps"):
                encoded.locate(CharSpan(at, at + 1))


def test_no_realigner_where_no_byte_is_lacking(make_tokenizer: Callable[..., Any]) -> None:
    for kind in ("byte-level", "unigram", "prefixed-bpe", "word-piece"):
        assert Realigner.of(json.loads(make_tokenizer(kind).backend_tokenizer.to_str())) is None
