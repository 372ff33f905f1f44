"""Labelled pairs for fitting and measuring: JSONL files of ``{id, instruction | null, data, label}``."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heed.errors import RecordError


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """One row: ``label`` is 1 where the data holds an injection; ``instruction`` is None where none is known."""

    id: str
    instruction: str | None
    data: str
    label: int
    group: str
    """The data set: its file's name without ending, with the folder where two files share a name."""


def load_pairs(files: Sequence[Path], *, limit: int | None = None, seed: int = 0) -> list[LabelledPair]:
    """Read labelled pairs, at most ``limit`` rows of each file, drawn at random with a fixed seed.

    Raises
    ------
    RecordError
        With file and line number, if a row does not follow the format; nothing is skipped in silence.
    """
    pairs: list[LabelledPair] = []
    alike = len({path.stem for path in files}) < len(files)
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"expected a JSONL file of labelled pairs, found: {error}") from error
        group = str(path.with_suffix("")) if alike else path.stem
        rows = [_pair(line, path, number, group) for number, line in enumerate(lines, 1) if line.strip()]
        if limit is not None and len(rows) > limit:
            chosen = np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))
            rows = [rows[index] for index in chosen]
        pairs.extend(rows)
    if {pair.label for pair in pairs} != {0, 1}:
        raise RecordError(f"expected rows with label 0 and rows with label 1, found {len(pairs)} rows of one kind")
    return pairs


def data_hash(pairs: Sequence[LabelledPair]) -> str:
    """Identity of the rows: sha256 over their fields, the first 16 hex digits."""
    digest = hashlib.sha256()
    for pair in pairs:
        fields = [pair.group, pair.id, pair.instruction, pair.data, pair.label]
        digest.update(json.dumps(fields).encode())
    return digest.hexdigest()[:16]


def _pair(line: str, path: Path, number: int, group: str) -> LabelledPair:
    where = f"{path.name}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordError(f"expected JSON in {where}, found: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("data"), str) or row.get("label") not in (0, 1):
        raise RecordError(f"expected an object with data (text) and label (0 or 1) in {where}, found {line[:80]!r}")
    instruction = row.get("instruction")
    if instruction is not None and not isinstance(instruction, str):
        raise RecordError(f"expected instruction as text or null in {where}, found {type(instruction).__name__}")
    return LabelledPair(str(row.get("id", number)), instruction, row["data"], int(row["label"]), group)
