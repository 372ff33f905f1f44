"""`heed guard evaluate`: labelled texts come in, a table of how well the guard ranks, decides and points goes out."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.options import (
    CalibrationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    PresetOption,
    ProfileOption,
    ThresholdOption,
    load_guard,
    load_model,
)
from heed.cli.output import print_json, print_table, progress_bar, tell

if TYPE_CHECKING:
    from heed.evaluation import Evaluation, Judge
    from heed.guard.data import LabelledPair
    from heed.model import Model

FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILES...", exists=True, dir_okay=False, help="Labelled data sets.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Most lines of each file, drawn at random with a fixed seed.")
]


def evaluate(
    *,
    files: FilesArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Also write report, scores, pictures and a page."),
    ] = None,
    limit: LimitOption = None,
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out", help="Judge each of three files or more by a guard fitted on the others; takes long."
        ),
    ] = False,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    threshold: ThresholdOption = None,
    calibration: CalibrationOption = None,
    preset: PresetOption = "balanced",
    as_json: JsonOption = False,
) -> None:
    """Measure a guard on labelled texts, at its own fixed threshold.

    Each line of a file is a JSON object: `data`, `label` (1 where the data holds an injection, else 0), `instruction`
    (may be null); and, if known, `attack`, `category`, `where`, `language`, `injected_start`, `injected_end`, and the
    `family` of rows that share texts with other files: left out together. What needs both classes is not measured where
    one is missing.

    Exit codes: 0 evaluated, 2 bad usage or input, 3 could not run.
    """
    if leave_one_out and ({profile, threshold, calibration} != {None} or preset != "balanced"):
        raise typer.BadParameter(
            "expected no profile, threshold or preset: they are fitted", param_hint="--leave-one-out"
        )
    from heed.evaluation import evaluate, write_report
    from heed.evaluation.left_out import folds
    from heed.guard.data import load_pairs

    pairs = load_pairs(files, limit=limit, both=False)
    if leave_one_out:
        folds(pairs)
        evaluation = _left_out(load_model(model, dtype=dtype, device=device), pairs)
    else:
        guard = load_guard(
            model,
            dtype=dtype,
            device=device,
            profile=profile,
            threshold=threshold,
            calibration=calibration,
            preset=preset,
        )
        with progress_bar("judging") as bar:
            evaluation = evaluate(guard, pairs, progress=bar)
    _show(evaluation, as_json=as_json)
    if out is not None:
        written = write_report(evaluation, out)
        tell(f"written to {written[0]} and {len(written) - 1} files beside it")


def _left_out(model: "Model", pairs: "Sequence[LabelledPair]") -> "Evaluation":
    from heed.evaluation import leave_one_out, report

    def refit(model: "Model", others: "Sequence[LabelledPair]") -> "Judge":
        from heed.guard import Guard
        from heed.guard.fit import fit_pairs

        with TemporaryDirectory() as folder:
            fit_pairs(model, others, out=Path(folder))
            return Guard(model, profile=folder)

    with progress_bar("judging") as bar:
        judged = leave_one_out(model, pairs, refit, progress=bar)
    return report(judged, way="anew for each set, fitted on the others")


def _show(evaluation: "Evaluation", *, as_json: bool) -> None:
    if as_json:
        print_json(evaluation.record())
        return
    for place, table in enumerate(evaluation.tables()):
        if place:
            print()
        print_table(table)
    for note in evaluation.notes:
        tell(f"note: {note}")
