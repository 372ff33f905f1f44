"""Spans of characters and spans of tokens: two types, because mixing them is this field's classic bug.

Both are half-open, count from zero and may be empty. Neither knows any text.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class _Span:
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"expected 0 <= start <= end, found start={self.start}, end={self.end}")

    def __len__(self) -> int:
        return self.end - self.start

    def shift(self, by: int) -> Self:
        """The same stretch, ``by`` places later (earlier if negative)."""
        return type(self)(self.start + by, self.end + by)

    def cut(self, other: Self) -> Self | None:
        """What both share, or None where they share nothing."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return type(self)(start, end) if start < end else None

    def slice(self) -> slice:
        """As a Python slice."""
        return slice(self.start, self.end)


@dataclass(frozen=True, slots=True, order=True)
class CharSpan(_Span):
    """A stretch of characters (Unicode code points) of some text."""


@dataclass(frozen=True, slots=True, order=True)
class TokenSpan(_Span):
    """A stretch of tokens of some encoded prompt."""
