"""A task's file as records: JSON, JSONL or CSV comes in, objects with their places go out. What they mean is not known.

JSON holds ``{"examples": [...]}`` with settings beside it, or the list alone.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from heed.errors import InputError, RecordError
from heed.jobs.lines import BadLine, parse_line

SUFFIXES = (".json", ".jsonl", ".csv")
"""The kinds of file, by their endings."""

Placed = tuple[str, Mapping[str, Any]]
"""A record, and where it stands, as messages name it: ``line 3 of task.csv``."""


def read_text(path: Path) -> str:
    """The text of a file; a byte-order mark is left out.

    Raises
    ------
    InputError
        If it cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"expected UTF-8 in {path}, found another byte at {error.start + 1}: convert it") from None
    except OSError as error:
        raise InputError(f"expected to read {path}, found: {error.strerror}; check its permissions") from error


def read_task_file(text: str, kind: str, where: str) -> tuple[dict[str, Any], Iterator[Placed]]:
    """What stands beside the examples, and the examples with their places; ``kind`` is the file's ending.

    Raises
    ------
    RecordError
        If the text is not of that kind; of a line or an example when it is reached.
    """
    if kind == ".csv":
        return {}, _csv(text, where)
    if kind == ".jsonl":
        return {}, _jsonl(text, where)
    if kind != ".json":
        raise RecordError(f"expected a task as .json, .jsonl or .csv, found {where}: rename or convert it")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise RecordError(
            f"expected JSON in {where}, found on line {error.lineno}, character {error.colno}: {error.msg}; correct it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"expected JSON in {where}, found: {error}; correct it") from None
    head = value if isinstance(value, dict) else {"examples": value}
    listed = head.get("examples")
    if not isinstance(listed, list):
        raise RecordError(f'expected {{"examples": [...]}} in {where}, found no list under examples: correct the file')
    return {key: one for key, one in head.items() if key != "examples"}, _listed(listed, where)


def _listed(values: list[Any], where: str) -> Iterator[Placed]:
    for at, value in enumerate(values):
        place = f"example {at} of {where}"
        if not isinstance(value, dict):
            raise RecordError(f"expected an object as {place}, found {type(value).__name__}: correct it")
        yield place, value


def _jsonl(text: str, where: str) -> Iterator[Placed]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        item = parse_line(number, line.encode("utf-8", "surrogatepass"))
        if isinstance(item, BadLine):
            raise RecordError(f"{item.reason} ({where})")
        yield f"line {number} of {where}", item.record


def _csv(text: str, where: str) -> Iterator[Placed]:
    reader = csv.reader(io.StringIO(text))
    header: list[str] = []
    try:
        while True:
            line = reader.line_num + 1  # of a row with line breaks in it, the first
            row = next(reader, None)
            if row is None:
                return
            if row and not header:
                header = _header(row, line, where)
            elif len(row) not in (0, len(header)):
                raise RecordError(f"expected {len(header)} columns on line {line} of {where}, found {len(row)}")
            elif row:
                yield f"line {line} of {where}", {key: value for key, value in zip(header, row, strict=True) if value}
    except csv.Error as error:
        raise RecordError(f"expected CSV in {where}, found on line {reader.line_num}: {error}") from None


def _header(row: list[str], line: int, where: str) -> list[str]:
    """The names of the columns."""
    twice = next((name for at, name in enumerate(row) if name in row[:at]), None)
    if twice is not None:
        raise RecordError(f"expected each column once on line {line} of {where}, found {twice!r} again: rename one")
    return row
