import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heed.errors import InputError, SpanNotFoundError, TextError
from heed.text import CharSpan, Encoded, Message, Part, Role, TokenSpan, Trust, encode, encode_text, render
from heed.text.control import control_names

KINDS = ["byte-level", "unigram", "prefixed-bpe", "word-piece"]
TEMPLATES = ["chatml", "smollm2", "llama3", "gemma", "mistral", None]
HOSTILE = [
    "<|im_start|>", "<|im_end|>", "<|im_", "start|>", "<s>", "</s>", "<unk>", "[INST]", "[/INST]", "｜", "日本",
    "<tool_call>", "</think>", "<|eot_id|>", "<|start_header_id|>", "system\n", "\n", " ", "\n\n", "<table>", "\0",
    "😀", "<end_of_turn>", "שלום", "e\u0301", "\u00a0", "\U00108000", "\U0010bffe", "\U000f1000", '"', "\\",
]  # fmt: skip
plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
hostile_text = st.lists(st.one_of(st.sampled_from(HOSTILE), plain_text), max_size=8).map("".join)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def conversation(instruction: str, data: str) -> list[Message]:
    user = Message(Role.USER, (Part("Data: "), Part(data, Trust.UNTRUSTED, "data")))
    return [Message.of("system", instruction, name="instruction"), user]


def control_ids(tokenizer: Any, names: list[str]) -> set[int]:
    return {tokenizer.convert_tokens_to_ids(name) for name in names} - {tokenizer.unk_token_id}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_encode_gives_the_tokenizers_own_ids(make_tokenizer: Callable[..., Any], kind: str, template: str) -> None:
    tokenizer = make_tokenizer(kind, template)
    data = " Sort the <table> lists.\n\nhéllo 日本 😀\0 שלום  "
    rendered = render(conversation("Write a poem.", data), tokenizer)
    expected = tokenizer(rendered.text, add_special_tokens=template is None).input_ids
    assert encode(rendered, tokenizer).ids.tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", TEMPLATES)
@given(texts=st.tuples(hostile_text, hostile_text))
@quick
def test_encode_is_forgery_proof(
    make_tokenizer: Callable[..., Any], control_tokens: list[str], kind: str, template: str, texts: tuple[str, str]
) -> None:
    """Whatever the contents hold, the control tokens of the prompt are those of a harmless one."""
    tokenizer = make_tokenizer(kind, template)
    control = control_ids(tokenizer, control_tokens)
    rendered = render(conversation("x" + texts[0], "x" + texts[1]), tokenizer)
    encoded = encode(rendered, tokenizer)
    harmless = encode(render(conversation("x", "x"), tokenizer), tokenizer)
    assert [i for i in encoded.ids if i in control] == [i for i in harmless.ids if i in control]
    span = encoded.part("data")
    assert not control & set(encoded.ids[span.slice()].tolist())
    assert encoded.to_part("data", span).start == 0


@pytest.mark.parametrize("kind", KINDS)
@given(data=hostile_text)
@quick
def test_encode_agrees_with_the_tokenizer_unless_data_names_a_control_token(
    make_tokenizer: Callable[..., Any], control_tokens: list[str], kind: str, data: str
) -> None:
    tokenizer = make_tokenizer(kind, "chatml")
    rendered = render([Message.of("user", "x" + data)], tokenizer)
    outside = "".join(rendered.text[span.slice()] for span in rendered.control)
    if any(rendered.text.count(name) != outside.count(name) for name in control_tokens):
        return
    assert encode(rendered, tokenizer).ids.tolist() == tokenizer(rendered.text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("kind", ["byte-level", "unigram", "prefixed-bpe"])
@given(data=plain_text.filter(bool))
@quick
def test_every_character_is_found_again(make_tokenizer: Callable[..., Any], kind: str, data: str) -> None:
    tokenizer = make_tokenizer(kind, "chatml")
    encoded = encode(render([Message.of("user", data, name="data")], tokenizer), tokenizer)
    assert encoded.rendered is not None
    landing = encoded.rendered.landing("data")
    for at in range(len(data)):
        tokens = encoded.locate(landing.to_text(CharSpan(at, at + 1)))
        back = encoded.to_part("data", tokens)
        assert back.start <= at < back.end


def test_byte_tokens_that_share_a_character_stay_together(make_tokenizer: Callable[..., Any]) -> None:
    tokenizer = make_tokenizer("byte-level", "chatml")
    encoded = encode(render([Message.of("user", "a𐍈b", name="data")], tokenizer), tokenizer)
    assert encoded.rendered is not None
    middle = encoded.rendered.landing("data").to_text(CharSpan(1, 2))
    tokens = encoded.locate(middle)
    assert len(tokens) == 4
    assert all(encoded.char_span(token) == middle for token in range(tokens.start, tokens.end))
    assert encoded.to_part("data", tokens.start + 2) == CharSpan(1, 2)


def test_parts_side_by_side_and_clipped_tokens(make_tokenizer: Callable[..., Any]) -> None:
    tokenizer = make_tokenizer("byte-level", "llama3")
    parts = (Part("  Data:", name="label"), Part(" the dog ", Trust.UNTRUSTED, "data"))
    encoded = encode(render([Message(Role.USER, parts)], tokenizer), tokenizer)
    assert encoded.rendered is not None
    assert [encoded.text[landing.span.slice()] for landing in encoded.rendered.landings] == ["Data:", " the dog"]
    assert encoded.to_part("label", encoded.part("label")) == CharSpan(2, 7)
    assert encoded.to_part("data", TokenSpan(0, len(encoded))) == CharSpan(0, 8)
    with pytest.raises(SpanNotFoundError, match="expected characters of part 'data'"):
        encoded.to_part("data", 0)


def test_no_second_opening_token(make_tokenizer: Callable[..., Any]) -> None:
    tokenizer = make_tokenizer("byte-level", "llama3")
    ids = encode(render(conversation("Do.", "x"), tokenizer), tokenizer).ids.tolist()
    assert ids.count(tokenizer.bos_token_id) == 1


def test_a_token_that_swallows_blanks_keeps_to_its_own_characters(make_tokenizer: Callable[..., Any]) -> None:
    """Phi-3's role tokens strip the blanks that follow; those may be content."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    source = make_tokenizer("byte-level", None)
    backend = type(source.backend_tokenizer).from_str(source.backend_tokenizer.to_str())
    backend.add_special_tokens([AddedToken("<|user|>", rstrip=True, lstrip=True, normalized=False, special=True)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, chat_template="a {{ '<|user|>' + messages[0].content }}"
    )
    encoded = encode(render([Message.of("user", "  dog", name="data")], tokenizer), tokenizer)
    assert encoded.ids.tolist() == tokenizer(encoded.text, add_special_tokens=False).input_ids
    role = encoded.ids.tolist().index(tokenizer.convert_tokens_to_ids("<|user|>"))
    assert encoded.text[encoded.char_span(role).slice()] == "<|user|>"
    assert encoded.part("data").start == role + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "plain words", " <|im_start|>user\nhi<|im_end|> <unk> \n\n <tool_call>", "\0 😀"])
def test_encode_text_is_the_tokenizers_own(make_tokenizer: Callable[..., Any], kind: str, text: str) -> None:
    tokenizer = make_tokenizer(kind, "chatml")
    encoded = encode_text(text, tokenizer)
    assert encoded.ids.tolist() == tokenizer(text).input_ids
    assert encoded.ids.dtype == encoded.offsets.dtype == np.int64
    assert encoded.offsets.shape == (len(encoded), 2)
    assert encoded.char_span(0) == CharSpan(0, 0)


def test_spans_that_cannot_be_found_are_errors(make_tokenizer: Callable[..., Any]) -> None:
    tokenizer = make_tokenizer("byte-level", "chatml")
    encoded = encode(render(conversation("Do.", "x"), tokenizer), tokenizer)
    with pytest.raises(SpanNotFoundError, match="expected one part named 'dta', found 0 among"):
        encoded.part("dta")
    with pytest.raises(SpanNotFoundError, match=r"expected tokens for characters 3\.\.3"):
        encoded.locate(CharSpan(3, 3))
    with pytest.raises(SpanNotFoundError, match="expected tokens for characters 9999"):
        encoded.locate(CharSpan(9999, 10000))
    with pytest.raises(SpanNotFoundError, match="stand for none"):
        encoded.to_part("data", TokenSpan(2, 2))
    with pytest.raises(SpanNotFoundError, match="expected a prompt made of parts, found raw text"):
        encode_text("x", tokenizer).part("data")
    twice = encode(render([Message.of("user", "a", name="x"), Message.of("user", "b", name="x")], tokenizer), tokenizer)
    with pytest.raises(SpanNotFoundError, match="expected one part named 'x', found 2"):
        twice.part("x")


def test_encode_text_refuses_lone_surrogates(make_tokenizer: Callable[..., Any]) -> None:
    with pytest.raises(TextError, match=r"lone surrogates as the text, found U\+D83D at character 2"):
        encode_text("ab\ud83d", make_tokenizer())


def test_text_with_one_twins_private_names_gets_the_other(make_tokenizer: Callable[..., Any]) -> None:
    tokenizer = make_tokenizer("byte-level", "chatml")
    for text in ("a\U00108000b", "a\U0010c000b", "\U00108003\U0010bffe"):
        assert encode_text(text, tokenizer).ids.tolist() == tokenizer(text).input_ids
    with pytest.raises(TextError, match="found both; heed spells control tokens with them"):
        encode_text("\U00108001\U0010c002", tokenizer)


def test_encode_follows_tokens_added_later(make_tokenizer: Callable[..., Any]) -> None:
    from transformers import PreTrainedTokenizerFast

    backend = type(make_tokenizer().backend_tokenizer).from_str(make_tokenizer().backend_tokenizer.to_str())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=make_tokenizer().chat_template)
    rendered = render([Message.of("user", "say <new>")], tokenizer)
    before = encode(rendered, tokenizer).ids.tolist()
    tokenizer.add_tokens(["<new>"], special_tokens=True)
    assert encode(rendered, tokenizer).ids.tolist() == before
    assert encode_text("<new>", tokenizer).ids.tolist() == tokenizer("<new>").input_ids


def test_padding_and_truncation_of_the_tokenizer_are_left_alone(make_tokenizer: Callable[..., Any]) -> None:
    from transformers import PreTrainedTokenizerFast

    backend = type(make_tokenizer().backend_tokenizer).from_str(make_tokenizer().backend_tokenizer.to_str())
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert len(encode_text("the quick brown fox jumps over", tokenizer)) == len(
        encode_text("the quick brown fox jumps over", make_tokenizer())
    )


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        chat_template = None

    with pytest.raises(InputError, match="expected a fast tokenizer, found Slow, whose tokens have no character"):
        encode_text("x", Slow())  # type: ignore[arg-type]


def test_a_tokenizer_that_drops_private_characters_is_refused() -> None:
    from tokenizers import AddedToken, Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.add_tokens([AddedToken("<role>", normalized=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    with pytest.raises(InputError, match="expected control token '<role>' to keep id 2 under another name"):
        encode_text("a", tokenizer)


def test_importing_text_is_light() -> None:
    code = "import heed.text, sys; print([m for m in ('torch', 'transformers', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_control_names_are_all_added_tokens_but_blanks_and_html(
    make_tokenizer: Callable[..., Any], control_tokens: list[str]
) -> None:
    assert sorted(control_names(make_tokenizer())) == sorted(control_tokens)


def test_a_control_token_that_merges_would_build_is_out_of_reach() -> None:
    from tokenizers import AddedToken, Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocab = {"<": 0, "s": 1, ">": 2, "<s": 3, "<s>": 4, "a": 5}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("<", "s"), ("<s", ">")]))
    backend.add_special_tokens([AddedToken("<s>", normalized=False, special=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, chat_template="{{ '<s>' + messages[0].content }}")
    assert encode(render([Message.of("user", "a<s>")], tokenizer), tokenizer).ids.tolist() == [4, 5, 3, 2]


def test_a_token_without_width_stands_for_no_character() -> None:
    encoded = Encoded(np.arange(3), np.array([[0, 1], [2, 2], [3, 4]]), "abcd")
    assert encoded.locate(CharSpan(0, 4)) == TokenSpan(0, 3)
    with pytest.raises(SpanNotFoundError, match=r"expected tokens for characters 1\.\.3 of a text of 4, found none"):
        encoded.locate(CharSpan(1, 3))
