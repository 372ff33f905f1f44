"""`heed guard export`: the verdicts of a scan or an evaluation come in, a file for other programs goes out."""

from pathlib import Path
from typing import Annotated

import typer

from heed.cli.options import JsonOption
from heed.cli.output import print_json, print_table, tell


def export(
    *,
    source: Annotated[
        Path,
        typer.Argument(metavar="IN.jsonl", exists=True, dir_okay=False, help="What `scan` or `evaluate` wrote."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="Named .jsonl, .csv or .parquet (extra `parquet`)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Count and summarise a batch of verdicts, and write it as JSONL, CSV or Parquet.

    Exit codes: 0 fine, 2 bad usage or input, 3 could not run.
    """
    from heed.evaluation.records import check_format, export, read_records, statistics

    if out is not None:
        check_format(out)
    records = read_records(source)
    summary = statistics(records).record()
    if out is not None:
        export(records, out)
    if as_json:
        print_json({**summary, "out": None if out is None else str(out)})
        return
    flat = {name: value for name, value in summary.items() if not isinstance(value, dict)}
    flat |= {f"status {name}": count for name, count in summary["status"].items()}
    flat |= {f"score at {share}": value for share, value in (summary["score_quantiles"] or {}).items()}
    print_table([("measure", "value"), *((name, _shown(value)) for name, value in flat.items())])
    if out is not None:
        tell(f"written to {out}")


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
