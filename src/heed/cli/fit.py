"""`heed guard fit`: labelled texts come in, a profile with its calibration for one model goes out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.cli.options import AggregationOption, DeviceOption, DtypeOption, JsonOption, ModelOption, load_model
from heed.cli.output import print_json, print_table, progress_bar, tell

if TYPE_CHECKING:
    from heed.guard.fit import FitReport

MethodName = Literal["linear", "margin", "stability"]


def fit(
    *,
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="FILE", exists=True, dir_okay=False, help="A data set; name two or more."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Folder to write; else where `check` will find it."),
    ] = None,
    method: Annotated[
        MethodName,
        typer.Option(
            "--method", help="Learned weights on all heads, or few heads by the margin rule (k by AUROC or stability)."
        ),
    ] = "linear",
    fpr: Annotated[float, typer.Option("--fpr", help="Share of benign texts that may be flagged.")] = 0.01,
    depth: Annotated[
        str, typer.Option("--depth", metavar="auto|N", help="Most layers that a check may run; fewer are faster.")
    ] = "auto",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Most lines used of each file.")] = None,
    longest: Annotated[int, typer.Option("--longest", min=1, help="Longer prompts, in tokens, are left out.")] = 2048,
    aggregation: AggregationOption = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn how to read a model's heads, and the threshold, from labelled texts. Read the notes.

    Each line of a data set is a JSON object: `data`, `label` (1 where the data holds an injection, else 0),
    `instruction` (may be null), and where known `injected_start` and `injected_end`.

    Exit codes: 0 fitted, 2 bad usage or input, 3 could not run.
    """
    layers = _depth(depth)
    loaded = load_model(model, dtype=dtype, device=device)
    from heed.guard.fit import fit

    with progress_bar("reading tokens") as bar:
        report = fit(
            loaded,
            data,
            method=method,
            out=out,
            fpr=fpr,
            depth=layers,
            aggregation=aggregation or "normalize_sum",
            limit=limit,
            longest=longest,
            progress=bar,
        )
    if as_json:
        print_json(report.record())
    else:
        _show(report)


def _show(report: "FitReport") -> None:
    print_table(report.table())
    tell(f"{report.left_out_rows} of {report.rows + report.left_out_rows} lines could not be read and were left out")
    for note in report.notes:
        tell(f"note: {note}")
    tell(f"written to {report.folder}")


def _depth(word: str) -> int | None:
    if word == "auto":
        return None
    if word.isascii() and word.isdigit() and int(word) > 0:
        return int(word)
    raise typer.BadParameter(f"expected auto or a positive number, found {word!r}", param_hint="--depth")
