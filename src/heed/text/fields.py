"""The stretches of a text that hold words: the string values of JSON, or the whole of any other text.

Comes in: a raw text. Goes out: `Field` values that remember where each of their characters stands in it, escapes
included. It does not know what the words are for.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heed.text.span import CharSpan

_TOKEN = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"|[{}\[\],]', re.DOTALL)
_CHARACTER = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL
)
"""How one character is written in a JSON string: as itself, as an escape, or as a pair of surrogate escapes."""
_PLAIN_KEY = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A string value of a JSON text, or a whole text that is no JSON.

    ``path`` is its JSONPath (RFC 9535), ``$.mails[0].body``; empty for a text that is no JSON. ``text`` is the
    decoded value; ``edges[i]`` is where its character ``i`` begins in the raw text, the last edge where it ends.
    """

    path: str
    text: str
    edges: Sequence[int]

    def within(self, raw: CharSpan) -> CharSpan | None:
        """The characters of ``text`` that a stretch of the raw text touches, or None; half an escape counts whole."""
        start = max(0, bisect_right(self.edges, raw.start) - 1)
        end = min(len(self.text), bisect_left(self.edges, raw.end))
        return CharSpan(start, end) if start < end and len(raw) else None

    def raw(self, span: CharSpan) -> CharSpan:
        """Where a stretch of ``text`` stands in the raw text."""
        return CharSpan(self.edges[span.start], self.edges[span.end])


def fields(text: str) -> tuple[Field, ...]:
    """The string values of a JSON text in order, or the text itself where it is no JSON.

    Keys are no fields. A string value that is itself a JSON object or array, as tool protocols wrap them, is looked
    into: its own string values stand for it, and its path goes on through it.
    """
    return tuple(_fields(text)) if _is_json(text) else (Field("", text, range(len(text) + 1)),)


def _is_json(text: str, opening: str = '{["') -> bool:
    if not text.lstrip().startswith(tuple(opening)):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _fields(text: str) -> Iterator[Field]:
    for path, span in _strings(text):
        raw = text[span.slice()]
        if "\\" not in raw:
            value, edges = raw, range(span.start, span.end + 1)
        else:
            value = json.loads(f'"{raw}"')
            starts = [span.start + found.start() for found in _CHARACTER.finditer(raw)]
            edges = [*starts, span.end]  # type: ignore[assignment]
        if _is_json(value, "{["):
            for inner in _fields(value):
                yield Field(path + inner.path[1:], inner.text, [edges[edge] for edge in inner.edges])
        else:
            yield Field(path, value, edges)


def _strings(text: str) -> Iterator[tuple[str, CharSpan]]:
    """Path and place, without quotes, of each string value of a valid JSON text."""
    steps: list[str | int] = []  # for each open object its key, for each open array its index
    key_next = False
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark == '"' and key_next:
            steps[-1], key_next = json.loads(token.group()), False
        elif mark == '"':
            yield _path(steps), CharSpan(*token.span(1))
        elif mark in "{[":
            steps.append("" if mark == "{" else 0)
            key_next = mark == "{"
        elif mark == ",":
            last = steps[-1]
            key_next = isinstance(last, str)
            steps[-1] = last if isinstance(last, str) else last + 1
        else:
            steps.pop()
            key_next = False


def _path(steps: Sequence[str | int]) -> str:
    return "$" + "".join(map(_step, steps))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{json.dumps(step, ensure_ascii=False)}]"
