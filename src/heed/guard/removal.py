"""A text without some of its stretches: spans come in, what remains and what was taken come out.

Offsets always count in the text as it first was. Where the text is JSON only string values lose characters, so that
it stays valid. It does not know who judged the stretches.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from heed.text.fields import fields
from heed.text.span import CharSpan

NOTICE = "[removed by heed]"
"""What stands in place of a masked stretch; it needs no escape in JSON, HTML, XML, YAML or CSV."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A stretch that was taken out.

    ``span`` counts in the text as it first was and ``text`` is what stood there, escapes as written; ``field`` is the
    JSONPath of the string value it stood in, empty where the text is no JSON.
    """

    span: CharSpan
    text: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left of ``data`` without the ``removed`` stretches, each of which ``notice`` stands in for."""

    data: str
    notice: str = ""
    removed: tuple[Removal, ...] = ()

    @property
    def kept(self) -> tuple[CharSpan, ...]:
        """The stretches of ``data`` before, between and after the removed ones; some may be empty."""
        starts = [0, *(removal.span.end for removal in self.removed)]
        ends = [*(removal.span.start for removal in self.removed), len(self.data)]
        return tuple(CharSpan(start, end) for start, end in zip(starts, ends, strict=True))

    @property
    def text(self) -> str:
        """What is left; ``data`` itself where nothing was removed."""
        return self.notice.join(self.data[kept.slice()] for kept in self.kept) if self.removed else self.data

    def without(self, spans: Iterable[CharSpan]) -> "Remainder":
        """Take out further stretches, counted in `text`; the same value where they hold nothing that can be taken."""
        taken = [removal.span for removal in self.removed]
        taken += [place for span in spans for place in self._original(span)]
        removed = tuple(self._removals(taken))
        return self if removed == self.removed else replace(self, removed=removed)

    def _original(self, span: CharSpan) -> Iterator[CharSpan]:
        """The stretches of ``data`` that a stretch of `text` shows; a notice shows none."""
        at = 0
        for kept in self.kept:
            shown = span.cut(CharSpan(at, at + len(kept)))
            if shown is not None:
                yield shown.shift(kept.start - at)
            at += len(kept) + len(self.notice)

    def _removals(self, taken: list[CharSpan]) -> Iterator[Removal]:
        for field in fields(self.data):
            own = [span for span in map(field.within, taken) if span is not None]
            for span in _joined(field.text, own):
                raw = field.raw(span if self.notice else _with_seam(field.text, span))
                yield Removal(raw, self.data[raw.slice()], field.path)


def _joined(text: str, spans: Iterable[CharSpan]) -> list[CharSpan]:
    """The spans in order without blanks at their ends; those with only blanks between them become one."""
    joined: list[CharSpan] = []
    for span in sorted(filter(None, (_stripped(text, span) for span in spans))):
        if joined and not text[joined[-1].end : span.start].strip():
            before = joined.pop()
            joined.append(CharSpan(before.start, max(before.end, span.end)))
        else:
            joined.append(span)
    return joined


def _stripped(text: str, span: CharSpan) -> CharSpan | None:
    inside = text[span.slice()]
    start, end = span.end - len(inside.lstrip()), span.start + len(inside.rstrip())
    return CharSpan(start, end) if start < end else None


def _with_seam(text: str, span: CharSpan) -> CharSpan:
    """The span with the blanks of one side, where both have some; the side that breaks more lines stays."""
    before, after = text[: span.start], text[span.end :]
    left, right = before[len(before.rstrip()) :], after[: len(after) - len(after.lstrip())]
    if not (left and right):
        return span
    if left.count("\n") > right.count("\n"):
        return CharSpan(span.start, span.end + len(right))
    return CharSpan(span.start - len(left), span.end)
