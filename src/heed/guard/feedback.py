"""Feedback: what users confirmed of the guard's verdicts, kept on this disk in SQLite.

Verdicts with their true label come in, rows without text go out. What is kept of a text is its SHA-256, unless the
caller asks for the text itself; a hash hides a text that cannot be guessed, no other. The folder is private when heed
makes it (0700), the files always (0600); at most `MOST_ROWS` rows are kept, the oldest go first; deleted rows are
overwritten. This module does not know how a threshold follows from them.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import time
from typing import Any

from heed.errors import InputError, StoreError
from heed.guard.prompt import NEUTRAL_INSTRUCTION
from heed.guard.verdict import Verdict
from heed.settings import settings

MOST_ROWS = 100_000
FEEDBACK_FILE = "guard.sqlite3"
_VERSION = 1
_SECONDS_TO_WAIT = 10.0
_CREATING = Lock()

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feedback (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    made_for TEXT NOT NULL,
    given INTEGER NOT NULL,
    score REAL NOT NULL,
    threshold REAL,
    flagged INTEGER,
    label INTEGER NOT NULL CHECK (label IN (0, 1)),
    sha256 TEXT NOT NULL,
    instruction TEXT,
    data TEXT,
    UNIQUE (made_for, sha256)
)
"""
_COLUMNS = "time, made_for, given, score, threshold, flagged, label, sha256, instruction, data"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One verdict and what the text turned out to be."""

    time: float
    """Seconds since 1970."""
    made_for: str
    """Profile and query tokens the score came from (`Guard.made_for`)."""
    given: bool
    """Whether the text came with an instruction."""
    score: float
    threshold: float | None
    flagged: bool | None
    """What the guard had decided; None where it had no threshold."""
    label: int
    """0 benign, 1 attack."""
    sha256: str
    """Of instruction and data as JSON."""
    instruction: str | None = None
    data: str | None = None

    def record(self) -> dict[str, Any]:
        """JSON-ready fields, without the texts."""
        names = ("time", "made_for", "given", "score", "threshold", "flagged", "label", "sha256")
        return {name: getattr(self, name) for name in names} | {"text_kept": self.data is not None}


class Feedback:
    """Confirmed verdicts in a file; safe to use from several threads and processes.

    Parameters
    ----------
    path
        The SQLite file; None: `FEEDBACK_FILE` in the folder of the settings (``HEED_FEEDBACK_DIR``).
    most_rows
        Rows kept; the oldest are deleted beyond that.

    Raises
    ------
    StoreError
        From every method: if the file cannot be made, is locked for ten seconds, or is not heed's.
    """

    def __init__(self, path: Path | str | None = None, *, most_rows: int = MOST_ROWS) -> None:
        if most_rows < 1:
            raise InputError(f"expected to keep at least 1 row, found {most_rows}")
        self.path = settings().feedback_dir / FEEDBACK_FILE if path is None else Path(path)
        self.most_rows = most_rows

    def add(self, verdict: Verdict, label: int, *, made_for: str, store_text: bool = False) -> Confirmed:
        """Record a verdict's true label: 0 benign, 1 attack. For the same text and profile the latest counts.

        Raises
        ------
        InputError
            If the label is neither, or the guard had no score for the text.
        """
        if type(label) is not int or label not in (0, 1):
            raise InputError(f"expected label 0 (benign) or 1 (attack), found {label!r}")
        if verdict.score is None:
            raise InputError(
                f"expected a verdict with a score, found that the guard abstained ({verdict.status}): "
                "no threshold would have judged this text"
            )
        texts = (verdict.instruction, verdict.data)
        row = Confirmed(
            time=time(),
            made_for=made_for,
            given=verdict.instruction != NEUTRAL_INSTRUCTION,
            score=verdict.score,
            threshold=verdict.threshold,
            flagged=verdict.flagged,
            label=label,
            sha256=hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
            instruction=_storable(texts[0]) if store_text else None,
            data=_storable(texts[1]) if store_text else None,
        )
        values = [getattr(row, name) for name in _COLUMNS.split(", ")]
        with self._open() as base:
            base.execute(f"INSERT OR REPLACE INTO feedback ({_COLUMNS}) VALUES ({'?, ' * 9}?)", values)  # noqa: S608
            base.execute(
                "DELETE FROM feedback WHERE id IN (SELECT id FROM feedback ORDER BY id DESC LIMIT -1 OFFSET ?)",
                [self.most_rows],
            )
        return row

    def rows(self, *, made_for: str | None = None, given: bool | None = None) -> list[Confirmed]:
        """The rows, oldest first: all, or those of one profile, or of texts with or without an instruction."""
        with self._open() as base:
            found = base.execute(
                f"SELECT {_COLUMNS} FROM feedback WHERE (?1 IS NULL OR made_for = ?1) "  # noqa: S608
                "AND (?2 IS NULL OR given = ?2) ORDER BY id",
                [made_for, given],
            ).fetchall()
        return [_confirmed(row) for row in found]

    def clear(self) -> int:
        """Delete all rows; returns how many there were."""
        with self._open() as base:
            count: int = base.execute("DELETE FROM feedback").rowcount
        with self._open() as base:
            base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction on the file, made private before anything is written to it."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self.path.chmod(0o600)
            with closing(sqlite3.connect(self.path, timeout=_SECONDS_TO_WAIT)) as base:
                _prepare(base, self.path)
                with base:
                    yield base
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"expected heed's feedback in {self.path}, found: {error}; close what else uses it, or move it away"
            ) from error


def _prepare(base: sqlite3.Connection, path: Path) -> None:
    version = base.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        raise StoreError(
            f"expected feedback of version {_VERSION} in {path}, found {version}: a newer heed wrote it; move it away"
        )
    base.execute("PRAGMA secure_delete = ON")
    if version == 0:
        with _CREATING:  # a change of the journal's mode does not wait for other connections
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("BEGIN IMMEDIATE")
            with base:
                base.execute(_SCHEMA)
                base.execute(f"PRAGMA user_version = {_VERSION}")


def _storable(text: str) -> str:
    """The text with lone surrogates spelled out: SQLite keeps UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _confirmed(row: tuple[Any, ...]) -> Confirmed:
    when, made_for, given, score, threshold, flagged, *rest = row
    return Confirmed(when, made_for, bool(given), score, threshold, None if flagged is None else bool(flagged), *rest)
