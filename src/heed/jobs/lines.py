"""Reading numbered lines of JSONL: bytes come in, Items and BadLines go out.

A line ends with a line feed; a carriage return before it is white space. A byte-order mark at the start of the
source is skipped. A line that holds nothing but ASCII white space is blank: it keeps its number but is not counted
and gets no answer. Every other line is counted and is either an Item or a BadLine; no content raises.

This module knows neither what the records mean nor where the answers go.
"""

import codecs
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from heed.errors import HeedError, JobError, RecordError

Record = Mapping[str, Any]
"""A JSON object: string keys, JSON values (which may hold lone surrogates that came as ``\\ud800`` escapes)."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One line that holds a JSON object; ``line`` is its number in the source, from one."""

    line: int
    record: Record


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line that got no answer from the job: it could not be read, or the work refused it.

    ``record`` is what the line held, or None where it could not be read; ``error`` says why.
    """

    line: int
    error: HeedError
    record: Record | None = None

    @property
    def reason(self) -> str:
        """Why, as a sentence; safe to write as UTF-8."""
        return str(self.error).encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """What a source is known by: SHA-256 and length of its bytes, and its number of counted lines."""

    sha256: str
    size: int
    lines: int


def open_source(source: Path | Iterable[bytes]) -> BinaryIO:
    """Open a source so that it can be read more than once, from its start.

    A regular file is opened as it is. A pipe, or an iterable of byte blocks (such as ``sys.stdin.buffer``), is read
    to its end into an unnamed temporary file first, because its identity must be known before the first answer.

    Raises
    ------
    RecordError
        If the path is missing, a folder, or cannot be read.
    JobError
        If there is no room for the temporary file.
    """
    if not isinstance(source, Path):
        return _spool(source)
    if source.is_dir():
        raise RecordError(f"expected a file of JSON lines, found the folder {source}: name a file in it")
    try:
        file = source.open("rb")
    except FileNotFoundError as error:
        raise RecordError(f"expected a file of JSON lines at {source}, found none: check the path") from error
    except OSError as error:
        raise RecordError(f"expected to read {source}, found: {error.strerror}; check its permissions") from error
    if source.is_file():
        return file
    with file:
        return _spool(iter(lambda: file.read(_READ_BYTES), b""))


def _spool(blocks: Iterable[bytes]) -> BinaryIO:
    file = TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        file.writelines(blocks)
        file.flush()
    except OSError as error:
        file.close()
        raise JobError(
            f"expected to copy the source to a temporary file, found: {error.strerror or error}; make room"
        ) from error
    except BaseException:
        file.close()
        raise
    return file


def identify(file: BinaryIO) -> SourceIdentity:
    """Read a source from its start to its end and say what it is known by."""
    file.seek(0)
    digest, size, lines = hashlib.sha256(), 0, 0
    for number, line in enumerate(file, 1):
        digest.update(line)
        size += len(line)
        lines += not _is_blank(number, line)
    return SourceIdentity(digest.hexdigest(), size, lines)


def read_lines(file: BinaryIO, *, skip: int = 0) -> Iterator[Item | BadLine]:
    """Read the counted lines of a source in order, without the first ``skip`` of them."""
    file.seek(0)
    counted = 0
    for number, line in enumerate(file, 1):
        if _is_blank(number, line):
            continue
        counted += 1
        if counted > skip:
            yield parse_line(number, line)


def parse_line(number: int, line: bytes) -> Item | BadLine:
    """Parse one counted line; what cannot be parsed becomes a BadLine with the reason, never an exception.

    NaN and infinities are refused, because JSON has none; of duplicate keys the last counts.
    """
    try:
        record = json.loads(_content(number, line).decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        return _bad(number, f"a byte that is not UTF-8 at byte {error.start + 1} of the line")
    except RecursionError:
        return _bad(number, "JSON nested too deeply")
    except json.JSONDecodeError as error:
        return _bad(number, f"invalid JSON at character {error.colno}: {error.msg}")
    except ValueError as error:
        return _bad(number, f"a value that cannot be used: {error}")
    if not isinstance(record, dict):
        return _bad(number, f"JSON of type {type(record).__name__}")
    return Item(number, record)


def _content(number: int, line: bytes) -> bytes:
    return line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _is_blank(number: int, line: bytes) -> bool:
    return not _content(number, line).strip()


def _bad(number: int, found: str) -> BadLine:
    message = f"expected a JSON object in UTF-8 on line {number}, found {found}; correct or remove the line"
    return BadLine(number, RecordError(message))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value
