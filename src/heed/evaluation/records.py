"""Verdicts as files for other programs: JSONL, CSV or Parquet, and what a batch of them amounts to."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heed.errors import InputError, RecordError
from heed.extras import require
from heed.jobs.lines import BadLine, open_source, read_lines
from heed.jobs.output import encode_record, write_atomically

Record = Mapping[str, Any]
"""One verdict: the fields of a line that `heed guard scan` or `heed guard evaluate` wrote."""

_TYPES = {
    "label": "int8",
    "flagged": "bool_",
    "score": "float64",
    "threshold": "float64",
    "review": "float64",
    "probability": "float64",
    "seconds": "float64",
}
"""Columns that are no text, with the name of their type in pyarrow."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a batch of verdicts amounts to; numbers of score and seconds are None where no record has them."""

    rows: int
    flagged: int
    fine: int
    abstained: int
    status: dict[str, int]
    """Rows of each status."""
    score_mean: float | None
    score_quantiles: dict[str, float] | None
    """Of the risks: 5, 50, 95, 99 %."""
    seconds: float | None
    """Sum over all rows."""
    seconds_median: float | None
    seconds_p95: float | None

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def read_records(path: Path) -> list[Record]:
    """Read the verdicts a scan or an evaluation wrote.

    Raises
    ------
    RecordError
        With the line's number, if one holds no JSON object with a status; if the file holds none or cannot be read.
    """
    with open_source(path) as file:
        records: list[Record] = []
        for item in read_lines(file):
            if isinstance(item, BadLine):
                raise RecordError(f"{item.reason} ({path.name})") from item.error
            if "status" not in item.record or "flagged" not in item.record:
                found = ", ".join(list(item.record)[:5]) or "none"
                raise RecordError(
                    f"expected a verdict with status and flagged in {path.name}, line {item.line}, found the fields "
                    f"{found}: name a file that `heed guard scan` or `evaluate` wrote"
                )
            records.append(item.record)
    if not records:
        raise RecordError(f"expected verdicts in {path}, found none: name a file that `heed guard scan` wrote")
    return records


def statistics(records: Sequence[Record]) -> Statistics:
    """Count and summarise a batch of verdicts."""
    scores, seconds = _numbers(records, "score"), _numbers(records, "seconds")
    flagged = sum(record["flagged"] is True for record in records)
    fine = sum(record["flagged"] is False for record in records)
    quantiles = {f"{share:g}": float(np.quantile(scores, share)) for share in (0.05, 0.5, 0.95, 0.99) if scores.size}
    return Statistics(
        rows=len(records),
        flagged=flagged,
        fine=fine,
        abstained=len(records) - flagged - fine,
        status=dict(Counter(str(record["status"]) for record in records).most_common()),
        score_mean=float(scores.mean()) if scores.size else None,
        score_quantiles=quantiles or None,
        seconds=float(seconds.sum()) if seconds.size else None,
        seconds_median=float(np.median(seconds)) if seconds.size else None,
        seconds_p95=float(np.quantile(seconds, 0.95)) if seconds.size else None,
    )


def export(records: Sequence[Record], path: Path) -> None:
    """Write verdicts in the format the file's ending names: ``.jsonl``, ``.csv`` or ``.parquet``.

    CSV and Parquet hold one column for each field; what is no number or truth value is text, lists are JSON. In CSV, a
    text that a spreadsheet would take for a formula is led by an apostrophe.

    Raises
    ------
    InputError
        If the ending is none of these.
    ExtraMissingError
        If Parquet is asked for and pyarrow (the extra ``parquet``) is not installed.
    JobError
        If the file cannot be written.
    """
    check_format(path)
    writers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    write_atomically(path, writers[path.suffix.lower()](records))


def check_format(path: Path) -> None:
    """Refuse a file whose format is not known, before the work is done.

    Raises
    ------
    InputError
        If its ending is none of ``.jsonl``, ``.csv``, ``.parquet``.
    """
    if path.suffix.lower() not in (".jsonl", ".csv", ".parquet"):
        raise InputError(f"expected a file named .jsonl, .csv or .parquet, found {path.name!r}: choose one of them")


def _jsonl(records: Sequence[Record]) -> bytes:
    return b"".join(map(encode_record, records))


def _csv(records: Sequence[Record]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    names = _columns(records)
    writer.writerow(names)
    writer.writerows([_cell(name, record.get(name)) for name in names] for record in records)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _parquet(records: Sequence[Record]) -> bytes:
    arrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    names = _columns(records)
    fields = [(name, getattr(arrow, _TYPES.get(name, "string"))()) for name in names]
    rows = [{name: _plain(name, record.get(name)) for name in names} for record in records]
    table = arrow.Table.from_pylist(rows, schema=arrow.schema(fields))
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def _columns(records: Iterable[Record]) -> list[str]:
    """Every field of any record, in the order of first sight."""
    return list(dict.fromkeys(name for record in records for name in record))


def _plain(name: str, value: Any) -> Any:
    if value is None or name in _TYPES:
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _cell(name: str, value: Any) -> Any:
    plain = _plain(name, value)
    return f"'{plain}" if isinstance(plain, str) and plain.startswith(("=", "+", "-", "@", "\t", "\r")) else plain


def _numbers(records: Iterable[Record], name: str) -> np.ndarray:
    return np.array([record[name] for record in records if record.get(name) is not None], dtype=np.float64)
