"""The output of a job: records come in, whole lines that survive a crash go out.

Lines are only ever appended, and each append is on disk before it returns. A crash can leave a torn last line
(no line feed); ``open_output`` cuts it off and says how many whole lines stand. Every file operation that fails is a
JobError that names the file. This module knows neither sources nor manifests.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from heed.errors import JobError
from heed.jobs.lines import Record


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a JobError that names ``path`` and says that a rerun is safe."""
    try:
        yield
    except OSError as error:
        raise JobError(
            f"expected to write {path}, found: {error.strerror or error}; make room or correct the permissions and "
            "run the same command again: what was written is kept"
        ) from error


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder to disk, so that a new file outlives a power cut (nothing to do on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a small file in one step: a reader sees the old content or the new, never a mixture.

    Raises
    ------
    JobError
        If it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with storing(path):
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)


def encode_record(record: Record) -> bytes:
    r"""Encode one record as one line of ASCII JSON; every other character, lone surrogates too, is a \\u escape.

    Raises
    ------
    JobError
        If the record is not a JSON object or holds a number that is not finite.
    """
    if not isinstance(record, Mapping):
        raise JobError(f"expected a JSON object from the job, found {type(record).__name__}: fix the job")
    try:
        return json.dumps(dict(record), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise JobError(f"expected a record of JSON values from the job, found: {error}; fix the job") from error


@dataclass(frozen=True, slots=True)
class Output:
    """An output open for appending; ``lines`` is the number of whole lines it held when it was opened."""

    path: Path
    file: FileIO
    lines: int

    def append(self, records: Iterable[Record]) -> None:
        """Write records as lines and bring them to disk.

        Raises
        ------
        JobError
            If a record is not JSON (then none is written), or the disk fails (then the last line may be torn).
        """
        rest = memoryview(b"".join(map(encode_record, records)))
        with storing(self.path):
            while rest:
                rest = rest[self.file.write(rest) :]
            os.fsync(self.file.fileno())


@contextmanager
def open_output(path: Path) -> Iterator[Output]:
    """Open an output at the end of its last whole line, creating it where there is none.

    Raises
    ------
    JobError
        If it cannot be written, or holds lines that no job wrote.
    """
    with storing(path):
        created = not path.exists()
        file = path.open("a+b", buffering=0)
        if created:
            sync_folder(path.parent)
    with file:
        yield Output(path, file, _cut_torn_line(path, file))


def _cut_torn_line(path: Path, file: FileIO) -> int:
    lines, end = 0, 0
    with storing(path), path.open("rb") as reader:
        for line in reader:
            if not line.endswith(b"\n"):
                break
            if not (line.startswith(b"{") and line.endswith(b"}\n")):
                raise JobError(
                    f"expected lines written by this job in {path}, found something else on line {lines + 1}: "
                    "restore the file, or start anew with force (the old output is kept as a backup)"
                )
            lines, end = lines + 1, end + len(line)
    with storing(path):
        if file.seek(0, os.SEEK_END) > end:
            file.truncate(end)
            os.fsync(file.fileno())
    return lines
