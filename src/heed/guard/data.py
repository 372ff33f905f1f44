"""Labelled pairs for fitting and measuring: JSONL files of ``{id, instruction | null, data, label}``.

A row may also say what it holds: ``attack``, ``category``, ``where`` (start, middle, end), ``language``, and where in
``data`` the injection stands (``injected_start``, ``injected_end``; without an end it runs to the end of the data); and
``family``, which rows of other files it shares texts with.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heed.errors import RecordError
from heed.text.span import CharSpan

MOST_CHARACTERS = 1_000_000
"""Longest data of a row: more than twice what 100,000 tokens hold. Beyond it a row is taken for a mistake."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """One row: ``label`` is 1 where the data holds an injection; ``instruction`` is None where none is known."""

    id: str
    instruction: str | None
    data: str
    label: int
    group: str
    """The data set: its file's name without ending, with the folder where two files share a name."""
    attack: str | None = None
    category: str | None = None
    where: str | None = None
    language: str | None = None
    injected: CharSpan | None = None
    """Where in ``data`` the injection stands, if the row says so."""
    family: str | None = None
    """Rows that share texts over several files: left out of a fit together. None: its file is its family."""


def set_names(files: Sequence[Path]) -> list[str]:
    """The data set's name of each file: without ending, with the folder where two files share a name."""
    alike = len({path.stem for path in files}) < len(files)
    return [str(path.with_suffix("")) if alike else path.stem for path in files]


def load_pairs(
    files: Sequence[Path], *, limit: int | None = None, seed: int = 0, both: bool = True
) -> list[LabelledPair]:
    """Read labelled pairs, at most ``limit`` rows of each file, drawn at random with a fixed seed.

    ``both`` asks for rows of both classes, in all files together.

    Raises
    ------
    RecordError
        With file and line number, if a row does not follow the format; if a file is named twice or holds no row, or a
        class is missing that must be there. Nothing is skipped in silence.
    """
    pairs: list[LabelledPair] = []
    twice = next((path for path in files if files.count(path) > 1), None)
    if twice is not None:
        raise RecordError(f"expected different files, found {twice} twice: name it once")
    for path, group in zip(files, set_names(files), strict=True):
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"expected labelled pairs as JSON lines in UTF-8 in {path}, found: {error}") from error
        rows = [_pair(line, path, number, group) for number, line in enumerate(lines, 1) if line.strip()]
        if not rows:
            raise RecordError(f"expected rows of labelled pairs in {path}, found none: fill the file or leave it out")
        if limit is not None and len(rows) > limit:
            chosen = np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))
            rows = [rows[index] for index in chosen]
        pairs.extend(rows)
    if not pairs or (both and {pair.label for pair in pairs} != {0, 1}):
        found = f"{len(pairs)} rows, all with label {pairs[0].label}, in" if pairs else "no row in"
        names = ", ".join(path.name for path in files)
        raise RecordError(f"expected rows with label 0 and rows with label 1, found {found} {names}: add the others")
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
    except (ValueError, RecursionError) as error:
        raise RecordError(f"expected JSON in {where}, found: {error}") from error
    if not isinstance(row, dict):
        raise RecordError(f"expected a JSON object in {where}, found {type(row).__name__}: correct the line")
    if not isinstance(row.get("data"), str):
        raise RecordError(f"expected data as text in {where}, found {type(row.get('data')).__name__}: correct the line")
    label, instruction = row.get("label"), row.get("instruction")
    if type(label) is not int or label not in (0, 1):
        found = repr(label)[:80]
        raise RecordError(f"expected label 0 (benign) or 1 (attack) in {where}, found {found}: correct the line")
    if instruction is not None and not isinstance(instruction, str):
        raise RecordError(f"expected instruction as text or null in {where}, found {type(instruction).__name__}")
    if len(row["data"]) > MOST_CHARACTERS:
        found = f"{len(row['data']):,}"
        raise RecordError(
            f"expected at most {MOST_CHARACTERS:,} characters of data in {where}, found {found}: cut or remove the row"
        )
    said = {name: _said(row.get(name)) for name in ("attack", "category", "where", "language", "family")}
    injected = _injected(row, where) if label == 1 else None
    name = str(row.get("id", number))
    return LabelledPair(name, instruction, row["data"], label, group, injected=injected, **said)


def _said(value: Any) -> str | None:
    """What a row says of itself, as a name to sort by."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _injected(row: dict[str, Any], where: str) -> CharSpan | None:
    start, end = row.get("injected_start"), row.get("injected_end")
    if start is None and end is None:
        return None
    length = len(row["data"])
    end = length if end is None else end
    if not (type(start) is int and type(end) is int and 0 <= start < end <= length):
        raise RecordError(
            f"expected 0 <= injected_start < injected_end <= {length} (characters of data) in {where}, "
            f"found {start!r} and {end!r}: correct the offsets"
        )
    return CharSpan(start, end)
