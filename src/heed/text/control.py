"""Control tokens that no data can forge: a twin of the tokenizer in which they have other names.

In the twin every control token is spelled with private-use characters, one for each character of its
true name, in the vocabulary as well as among the added tokens; ids stay what they are. A prompt whose
control text is respelled so encodes to the same ids and offsets, and a literal ``<|im_start|>`` in
data is only text, because the twin knows no token of that name. Knows no roles and no parts.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from heed.errors import InputError, TextError
from heed.text.offsets import Realigner
from heed.text.span import CharSpan
from heed.text.tokenizer import FastTokenizer, backend_of

_BLOCKS = (0x108000, 0x10C000)
"""Two places in the private-use plane for the names, so that text which uses one leaves the other."""
_BLOCK_SIZE = 0x3FFE
_BLANK = re.compile(r"[\s▁]+")
_HTML = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|em|strong|i|b|u|s|sub|sup|code|a|p|br|hr"
    r"|ul|ol|li|dl|dt|dd|img|div|span|pre)>"
)
"""Some tokenizers (Gemma) hold HTML tags as single ordinary words."""

_Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Twin:
    """A tokenizer whose control tokens have private names; ``names`` maps the true ones to them."""

    backend: Any
    names: dict[str, str]
    ids: dict[str, int]
    true_name: re.Pattern[str]
    private_name: re.Pattern[str]
    absorbing: frozenset[int]
    """Ids of control tokens that swallow blanks beside them."""
    realigner: Realigner | None

    def encode(
        self, text: str, control: Iterable[CharSpan], *, add_special_tokens: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Token ids ``[T]`` and character offsets ``[T, 2]``, int64; only ``control`` may hold control tokens."""
        spelled = self._spell(text, control)
        encoding = self.backend.encode(spelled, add_special_tokens=add_special_tokens)
        ids = np.asarray(encoding.ids, dtype=np.int64)
        if self.realigner is None:
            offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        else:
            offsets = self.realigner.offsets(spelled, encoding)
        for token in np.flatnonzero(np.isin(ids, list(self.absorbing))):
            name = self.private_name.search(spelled, *offsets[token])
            if name:
                offsets[token] = name.span()
        return ids, offsets

    def _spell(self, text: str, control: Iterable[CharSpan]) -> str:
        pieces, at = [], 0
        for span in control:
            own = self.true_name.sub(lambda match: self.names[match.group()], text[span.slice()])
            pieces += [text[at : span.start], own]
            at = span.end
        return "".join([*pieces, text[at:]])


_lock = Lock()
_twins: WeakKeyDictionary[Any, tuple[_Key, dict[int, Twin]]] = WeakKeyDictionary()


def control_names(tokenizer: FastTokenizer) -> tuple[str, ...]:
    """The tokens that control text alone may hold: all added ones but blanks and plain HTML tags.

    Raises
    ------
    InputError
        If the tokenizer is not a fast one.
    """
    return tuple(token.content for _, token in _control_tokens(tokenizer))


def twin_of(tokenizer: FastTokenizer, text: str) -> Twin:
    """The tokenizer's twin (made once, then remembered) whose private names do not occur in ``text``.

    Raises
    ------
    InputError
        If the tokenizer is not a fast one, or its control tokens cannot be renamed.
    TextError
        If the text holds names of every twin there is.
    """
    tokens = _control_tokens(tokenizer)
    key = tuple((index, str(token)) for index, token in tokens)
    with _lock:
        known, twins = _twins.get(tokenizer, (None, {}))
        if known != key:
            twins = {}
            _twins[tokenizer] = (key, twins)
        for block in _BLOCKS:
            if re.search(f"[{chr(block)}-{chr(block + max(len(tokens), 1) - 1)}]", text):
                continue
            if block not in twins:
                twins[block] = _make(backend_of(tokenizer), tokens, block)
            return twins[block]
    raise TextError(
        f"expected text without the private-use characters from U+{_BLOCKS[0]:X} and from U+{_BLOCKS[1]:X} on,"
        " found both; heed spells control tokens with them, so remove them"
    )


def _control_tokens(tokenizer: FastTokenizer) -> list[tuple[int, Any]]:
    template = str(tokenizer.chat_template or "")
    added = sorted(backend_of(tokenizer).get_added_tokens_decoder().items())
    return [(index, token) for index, token in added if _is_control(token, template)]


def _is_control(token: Any, template: str) -> bool:
    if _BLANK.fullmatch(token.content):
        return False
    return token.special or token.content in template or not _HTML.fullmatch(token.content)


def _make(backend: Any, tokens: list[tuple[int, Any]], block: int) -> Twin:
    from tokenizers import Tokenizer

    if len(tokens) > _BLOCK_SIZE:
        raise InputError(f"expected at most {_BLOCK_SIZE} control tokens, found {len(tokens)}; they cannot be renamed")
    filler = chr(block + _BLOCK_SIZE)
    names = {
        token.content: chr(block + number) + filler * (len(token.content) - 1)
        for number, (_, token) in enumerate(tokens)
    }
    ids = {token.content: index for index, token in tokens}
    try:
        spec = _renamed(json.loads(backend.to_str()), names)
        twin, realigner = Tokenizer.from_str(json.dumps(spec)), Realigner.of(spec)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise InputError(f"expected a tokenizer whose control tokens can be renamed, found: {error}") from error
    for name, private in names.items():
        found = twin.encode(private, add_special_tokens=False).ids
        if found != [ids[name]]:
            raise InputError(
                f"expected control token {name!r} to keep id {ids[name]} under another name, found {found};"
                " this tokenizer changes private-use characters, so data could forge its control tokens"
            )
    return Twin(
        backend=twin,
        names=names,
        ids=ids,
        true_name=_any_of(tokens),
        private_name=re.compile("|".join(map(re.escape, names.values())) or "(?!)"),
        absorbing=frozenset(index for index, token in tokens if token.lstrip or token.rstrip),
        realigner=realigner,
    )


def _any_of(tokens: list[tuple[int, Any]]) -> re.Pattern[str]:
    """The longest control token first, as tokenizers match them."""
    longest = sorted((token for _, token in tokens), key=lambda token: -len(token.content))
    spelled = (rf"(?<!\w){re.escape(t.content)}(?!\w)" if t.single_word else re.escape(t.content) for t in longest)
    return re.compile("|".join(spelled) or "(?!)")


def _renamed(spec: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The tokenizer's own description with the names changed; no padding, no cut, blanks kept in offsets."""
    model = spec["model"]
    for token in spec["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): index for token, index in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not names.keys() & {*pair, "".join(pair)}]
    _keep_blanks(spec.get("post_processor"))
    return {**spec, "model": model, "truncation": None, "padding": None}


def _keep_blanks(processor: Any) -> None:
    if isinstance(processor, dict):
        if "trim_offsets" in processor:
            processor["trim_offsets"] = False
        for part in processor.get("processors", []):
            _keep_blanks(part)
