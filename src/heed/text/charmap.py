"""Character maps: where a character of the caller's raw string stands in its rendered form, and back.

A chat template may hand a text on as it is, trim it, or write it as JSON. A `CharMap` remembers
which of these happened, character by character. `forms` makes them. Knows no template and no tokenizer.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter

from heed.errors import SpanNotFoundError
from heed.text.span import CharSpan


@dataclass(frozen=True, slots=True)
class Segment:
    """Characters that belong together on both sides: one to one if ``exact``, else only as a whole."""

    raw: CharSpan
    rendered: CharSpan
    exact: bool = True


@dataclass(frozen=True, slots=True)
class CharMap:
    """A piecewise map between a raw string and its rendered form, both counted from their own 0.

    Characters in no segment stand on one side only: trimmed away, or added by the rendering.
    """

    segments: tuple[Segment, ...]

    @classmethod
    def identity(cls, length: int, *, skip: int = 0) -> "CharMap":
        """``length`` characters rendered as they are, after ``skip`` raw ones that are not rendered."""
        if not length:
            return cls(())
        return cls((Segment(CharSpan(skip, skip + length), CharSpan(0, length)),))

    def to_rendered(self, span: CharSpan) -> CharSpan:
        """Where a stretch of the raw string stands in the rendered form.

        Raises
        ------
        SpanNotFoundError
            If no character of it was rendered.
        """
        return self._across(span, "raw", "rendered")

    def to_raw(self, span: CharSpan) -> CharSpan:
        """Which stretch of the raw string a stretch of the rendered form comes from.

        Raises
        ------
        SpanNotFoundError
            If no character of it comes from the raw string.
        """
        return self._across(span, "rendered", "raw")

    def part(self, raw: CharSpan) -> tuple[CharSpan, "CharMap"]:
        """The map of a stretch of the raw string alone, and where its rendered form stands in this one's."""
        low, high = self._touched(raw, "raw")
        if low >= high or not raw:
            at = self.segments[low - 1].rendered.end if low else 0
            return CharSpan(at, at), CharMap(())
        place = self.to_rendered(raw)
        cuts = []
        for segment in self.segments[low:high]:
            own = segment.raw.cut(raw) if segment.exact else segment.raw
            if own:
                cuts.append(Segment(own.shift(-raw.start), self.to_rendered(own).shift(-place.start), segment.exact))
        return place, CharMap(tuple(cuts))

    def _touched(self, span: CharSpan, side: str) -> tuple[int, int]:
        low = bisect_right(self.segments, span.start, key=attrgetter(f"{side}.end"))
        return low, bisect_left(self.segments, span.end, key=attrgetter(f"{side}.start"))

    def _across(self, span: CharSpan, side: str, other: str) -> CharSpan:
        low, high = self._touched(span, side)
        if low >= high or not span:
            raise SpanNotFoundError(
                f"expected characters that stand in the {other} text, found none in {span.start}..{span.end}"
                f" of the {side} text; choose a stretch with characters that were rendered"
            )
        first, last = self.segments[low], self.segments[high - 1]
        here, there = getattr(first, side), getattr(first, other)
        start = there.start + max(0, span.start - here.start) * first.exact
        here, there = getattr(last, side), getattr(last, other)
        end = there.end - max(0, here.end - span.end) * last.exact
        return CharSpan(start, end)
