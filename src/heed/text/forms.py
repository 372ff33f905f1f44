"""Forms: how a template may write a text (as it is, trimmed, as JSON), each with its `CharMap`.

In come a raw string and, for tool calls, the rendered text; out come maps between the two. JSON is
read in step on both sides, so blanks, escapes and number spellings may differ and values may not.
"""

import json
import re
from collections.abc import Iterable, Iterator

from heed.errors import SpanNotFoundError
from heed.text.charmap import CharMap, Segment
from heed.text.span import CharSpan

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNIT = re.compile(r"\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|\\u\w{4}|\\.|[^\\]", re.DOTALL)
_LEXEME = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)
_BLANK = re.compile(r"\s*")

_Unit = tuple[str, int, int]
"""A decoded character and where the text that spells it starts and ends."""


def forms(text: str) -> Iterator[tuple[str, CharMap]]:
    """Every form in which templates write a content: as it is, trimmed, and each of them inside a JSON string."""
    windows = {CharSpan(0, len(text)): None}
    for low, high in ((1, 1), (1, 0), (0, 1)):
        for characters in (None, "\n"):
            start = len(text) - len(text.lstrip(characters)) if low else 0
            end = len(text.rstrip(characters)) if high else len(text)
            windows[CharSpan(min(start, end), end)] = None
    for window in windows:
        yield text[window.slice()], CharMap.identity(len(window), skip=window.start)
    for window in windows:
        for ascii_only in (False, True):
            inner = json.dumps(text[window.slice()], ensure_ascii=ascii_only)[1:-1]
            raw = ((c, i, i + 1) for i, c in enumerate(text[window.slice()], start=window.start))
            yield inner, CharMap(tuple(_joined(_pairs(raw, _units(inner, at=0)))))


def align_json(raw: str, text: str, *, at: int = 0) -> tuple[CharMap, int]:
    """Map raw JSON to the same JSON written anew in ``text`` from ``at`` on (other blanks, other escapes).

    Returns
    -------
    charmap, end
        The map, its rendered side counted from ``at``, and where the JSON ends in ``text``.

    Raises
    ------
    SpanNotFoundError
        If ``text`` does not hold the same JSON there (keys in the same order, equal values).
    """
    segments: list[Segment] = []
    end = at
    for old in _LEXEME.finditer(raw):
        new = _LEXEME.match(text, _after_blank(text, end))
        if new is None:
            raise _unlike(old.group(), text[end : end + 20])
        segments += _align_lexeme(old, new)
        end = new.end()
    shifted = (Segment(s.raw, s.rendered.shift(-at), s.exact) for s in segments)
    return CharMap(tuple(_joined(shifted))), end


def _after_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _align_lexeme(old: re.Match[str], new: re.Match[str]) -> Iterable[Segment]:
    raw, text = old.group(), new.group()
    whole = Segment(CharSpan(*old.span()), CharSpan(*new.span()), exact=raw == text)
    if raw == text:
        return [whole]
    if raw[0] == text[0] == '"':
        return _pairs(_units(raw, at=old.start()), _units(text, at=new.start()))
    if _same_number(raw, text):
        return [whole]
    raise _unlike(raw, text)


def _same_number(raw: str, text: str) -> bool:
    try:
        return float(raw) == float(text)
    except ValueError:
        return False


def _units(text: str, *, at: int) -> Iterator[_Unit]:
    """Decode JSON string text character by character."""
    for match in _UNIT.finditer(text):
        spelled = match.group()
        if spelled[0] != "\\":
            character = spelled
        elif spelled[1] == "u":
            character = json.loads(f'"{spelled}"')
        else:
            character = _ESCAPES.get(spelled[1], spelled[1])
        yield character, at + match.start(), at + match.end()


def _pairs(raw: Iterable[_Unit], rendered: Iterable[_Unit]) -> list[Segment]:
    segments = []
    left, right = list(raw), list(rendered)
    if [unit[0] for unit in left] != [unit[0] for unit in right]:
        raise _unlike("".join(unit[0] for unit in left)[:20], "".join(unit[0] for unit in right)[:20])
    for (_, start, end), (_, start_rendered, end_rendered) in zip(left, right, strict=True):
        exact = end - start == end_rendered - start_rendered == 1
        segments.append(Segment(CharSpan(start, end), CharSpan(start_rendered, end_rendered), exact))
    return segments


def _joined(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Exact segments that touch on both sides become one."""
    last: Segment | None = None
    for segment in segments:
        if (
            last is not None
            and last.exact
            and segment.exact
            and last.raw.end == segment.raw.start
            and last.rendered.end == segment.rendered.start
        ):
            last = Segment(
                CharSpan(last.raw.start, segment.raw.end), CharSpan(last.rendered.start, segment.rendered.end)
            )
            continue
        if last is not None:
            yield last
        last = segment
    if last is not None:
        yield last


def _unlike(raw: str, text: str) -> SpanNotFoundError:
    return SpanNotFoundError(
        f"expected the rendered JSON to say {raw!r}, found {text!r}; heed cannot tell where the arguments landed"
    )
