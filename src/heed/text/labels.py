"""How the tokens of a prompt are called in a picture: their texts, which of them control, and its named stretches."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from heed.errors import SpanNotFoundError
from heed.text.attention import NamedSpan
from heed.text.encode import Encoded
from heed.text.message import Part, Trust
from heed.text.rendered import Landing
from heed.text.span import CharSpan
from heed.text.split import sentences

_MOST_SENTENCES, _NAME_LENGTH = 12, 24


@dataclass(frozen=True, slots=True)
class Labels:
    """The text of each token (empty where one only continues a character), control tokens, and named spans."""

    tokens: tuple[str, ...]
    special: tuple[int, ...] = ()
    spans: tuple[NamedSpan, ...] = ()

    @classmethod
    def of(
        cls, encoded: Encoded, *, names: Sequence[str] = (), special: Sequence[int] = (), roles: Sequence[str] = ()
    ) -> Self:
        """The labels of a prompt.

        Parameters
        ----------
        names
            The tokenizer's own name of each token; shown where a token stands for no text.
        special
            The tokens that control the model.
        roles
            Who speaks in each message of a rendered prompt.
        """
        return cls(_texts(encoded, names), tuple(special), _spans(encoded, roles))

    def extended(self, texts: Sequence[str], *, special: Sequence[int] = ()) -> "Labels":
        """With tokens that were generated after the prompt; they are the span ``answer``."""
        answer = NamedSpan("answer", len(self.tokens), len(self.tokens) + len(texts))
        spans = (*self.spans, answer) if texts else self.spans
        return Labels((*self.tokens, *texts), (*self.special, *special), spans)

    def record(self) -> dict[str, Any]:
        """As plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """What `record` wrote."""
        spans = tuple(NamedSpan(**span) for span in record["spans"])
        return cls(tuple(record["tokens"]), tuple(record["special"]), spans)


def _texts(encoded: Encoded, names: Sequence[str]) -> tuple[str, ...]:
    """Each token's own characters; those of a character that several tokens spell go to the first of them."""
    found, told = [], 0
    for place, (start, end) in enumerate(encoded.offsets.tolist()):
        if start == end:
            found.append(names[place] if names else "")
        else:
            found.append(encoded.text[max(start, told) : end])
            told = max(told, end)
    return tuple(found)


def _spans(encoded: Encoded, roles: Sequence[str]) -> tuple[NamedSpan, ...]:
    """The parts of a rendered prompt; of a plain text its sentences, where there are a few."""
    if encoded.rendered is not None:
        named = [(_name(landing, roles), landing.span) for landing in encoded.rendered.landings]
    else:
        found = sentences(encoded.text)
        few = found if 1 < len(found) <= _MOST_SENTENCES else ()
        named = [(encoded.text[span.slice()].strip()[:_NAME_LENGTH], span) for span in few]
    return tuple(_apart(encoded, named))


def _name(landing: Landing, roles: Sequence[str]) -> str:
    part = landing.part
    if isinstance(part, Part) and (part.name or part.trust is Trust.UNTRUSTED):
        return part.name or "data"
    return roles[landing.message] if landing.message < len(roles) else part.name or f"message {landing.message + 1}"


def _apart(encoded: Encoded, named: Sequence[tuple[str, CharSpan]]) -> list[NamedSpan]:
    """As spans of tokens that do not overlap, each name once; what has no token of its own is left out."""
    found: list[NamedSpan] = []
    counts: dict[str, int] = {}
    for name, chars in named:
        try:
            span = encoded.locate(chars)
        except SpanNotFoundError:
            continue
        start = max(span.start, found[-1].end if found else 0)
        if start >= span.end:
            continue
        counts[name] = counts.get(name, 0) + 1
        found.append(NamedSpan(name if counts[name] == 1 else f"{name} {counts[name]}", start, span.end))
    return found
