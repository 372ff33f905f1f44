"""A text into words and sentences, as spans. Knows no tokens and no language beyond Unicode's classes."""

import re
import unicodedata
from functools import lru_cache

from heed.text.span import CharSpan

_CLOSERS = "\"')\\]\u00bb\u2019\u201d\u300d\u300f\uff09"
_WIDE_STOPS = "\u3002\uff01\uff1f"
_BREAK = re.compile(
    rf"(?<![.!?…])[.!?…]++[{_CLOSERS}]*+\s++(?=[^\sa-z])|(?<![{_WIDE_STOPS}])[{_WIDE_STOPS}]++[{_CLOSERS}]*+\s*+|\n\s*+"
)
"""Where a sentence ends; possessive and anchored, so that no text makes it slow."""
_LETTER, _MARK, _JOINER, _ALONE, _OTHER = range(5)
_UNSPACED = (
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x20000, 0x3FFFF),  # Han, supplementary planes
)


@lru_cache(maxsize=4096)
def _kind(character: str) -> int:
    code = ord(character)
    if any(low <= code <= high for low, high in _UNSPACED) and character.isalnum():
        return _ALONE
    if character.isalnum() or character == "_":
        return _LETTER
    if unicodedata.category(character)[0] == "M":
        return _MARK
    return _JOINER if character in "'\u2019\u200c\u200d" else _OTHER


def words(text: str) -> tuple[CharSpan, ...]:
    """The words of a text, in order: letters, digits and their marks; punctuation and emoji are none.

    An apostrophe or an invisible joiner inside a word does not end it. Scripts written without spaces
    (Chinese, Japanese) give one word for each character.
    """
    spans: list[CharSpan] = []
    start = end = 0
    joined = alone = False
    for at, kind in enumerate(map(_kind, text)):
        grows = start < end and end == at - joined
        if kind in (_LETTER, _ALONE):
            if not (grows and kind == _LETTER and not alone):
                _close(spans, start, end)
                start = at
            end, joined, alone = at + 1, False, kind == _ALONE
        elif kind == _MARK and grows:
            end, joined = at + 1, False
        else:
            joined = kind == _JOINER and end == at
    _close(spans, start, end)
    return tuple(spans)


def _close(spans: list[CharSpan], start: int, end: int) -> None:
    if start < end:
        spans.append(CharSpan(start, end))


def sentences(text: str) -> tuple[CharSpan, ...]:
    """The sentences of a text, in order, together covering it; blanks belong to the sentence before them.

    A sentence ends at a full stop, question or exclamation mark before a blank and anything but a
    small letter, at their ideographic forms, and at the end of a line.
    """
    ends = [match.end() for match in _BREAK.finditer(text)]
    starts = [0, *ends]
    return tuple(CharSpan(start, end) for start, end in zip(starts, [*ends, len(text)], strict=True) if start < end)
