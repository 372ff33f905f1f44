"""Whatever a caller calls a prompt, as one `Encoded`: raw text, messages, rendered or encoded already, or ids."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from heed.errors import InputError
from heed.model import Model
from heed.text.encode import Encoded, encode, encode_text
from heed.text.labels import Labels
from heed.text.message import Message, messages_from
from heed.text.render import render
from heed.text.tokenizer import FastTokenizer


def encode_prompt(model: Model, prompt: Any) -> Encoded:
    """Encode a prompt for a model.

    A string is encoded as it is, messages (`Message` or OpenAI-style dicts) through the chat template, ids are taken
    as they are; their text is then what the tokenizer decodes, token by token.

    Raises
    ------
    InputError
        If it is none of these, empty, or needs a tokenizer the model came without.
    """
    if isinstance(prompt, Encoded):
        return prompt
    if isinstance(prompt, str):
        return encode_text(prompt, tokenizer_of(model))
    if not isinstance(prompt, Sequence):
        prompt = np.asarray(prompt).reshape(-1)
    if not len(prompt):
        raise InputError("expected a prompt of at least one token, found an empty one")
    if isinstance(prompt, np.ndarray) or isinstance(prompt[0], int):
        return _from_ids(model, np.asarray(prompt))
    messages = prompt if isinstance(prompt[0], Message) else messages_from(prompt)
    tokenizer = tokenizer_of(model)
    return encode(render(messages, tokenizer), tokenizer)


def roles_of(prompt: Any) -> tuple[str, ...]:
    """Who speaks in each message of a prompt; nobody in one that is no messages."""
    if isinstance(prompt, str | Encoded) or not isinstance(prompt, Sequence) or not len(prompt):
        return ()
    if isinstance(prompt[0], Message):
        return tuple(str(message.role) for message in prompt)
    return tuple(str(record["role"]) for record in prompt) if isinstance(prompt[0], Mapping) else ()


def label(model: Model, prompt: Encoded, *, roles: Sequence[str] = ()) -> Labels:
    """What the tokens of a prompt are called in a picture."""
    tokenizer: Any = model.tokenizer
    ids = prompt.ids.tolist()
    names = [f"#{token}" for token in ids] if tokenizer is None else tokenizer.convert_ids_to_tokens(ids)
    if not prompt.text:
        return Labels(tuple(names), _special(tokenizer, ids))
    return Labels.of(prompt, names=names, special=_special(tokenizer, ids), roles=roles)


def label_more(model: Model, labels: Labels, ids: Int[np.ndarray, " N"]) -> Labels:
    """The labels with those of tokens that came after the prompt."""
    tokenizer: Any = model.tokenizer
    texts = [f"#{token}" if tokenizer is None else tokenizer.decode([token]) for token in ids.tolist()]
    before = len(labels.tokens)
    return labels.extended(texts, special=[before + place for place in _special(tokenizer, ids.tolist())])


def _special(tokenizer: Any, ids: Sequence[int]) -> tuple[int, ...]:
    if tokenizer is None:
        return ()
    added = {token for token, its in tokenizer.added_tokens_decoder.items() if its.special}
    control = added | set(tokenizer.all_special_ids)
    return tuple(place for place, token in enumerate(ids) if token in control)


def tokenizer_of(model: Model) -> FastTokenizer:
    """The model's tokenizer.

    Raises
    ------
    InputError
        If it came without one.
    """
    if model.tokenizer is None:
        raise InputError(f"expected a tokenizer with {model.name}, found none: wrap(hf_model, tokenizer), or give ids")
    tokenizer: Any = model.tokenizer
    return tokenizer  # type: ignore[no-any-return]


def _from_ids(model: Model, ids: Int[np.ndarray, " T"]) -> Encoded:
    if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= model.hf.config.get_text_config().vocab_size:
        raise InputError(
            f"expected token ids in [0, {model.hf.config.get_text_config().vocab_size}), "
            f"found {ids.dtype} from {ids.min()} to {ids.max()}"
        )
    tokenizer: Any = model.tokenizer
    pieces = ["" if tokenizer is None else tokenizer.decode([token]) for token in ids.tolist()]
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    offsets = np.stack([np.concatenate([[0], ends[:-1]]), ends], 1).astype(np.int64)
    return Encoded(ids=ids.astype(np.int64), offsets=offsets, text="".join(pieces))
