"""`heed guard`: texts to verdicts, a file of texts to a file of verdicts, labelled texts to a profile."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli import feedback
from heed.cli.calibrate import calibrate
from heed.cli.clean import clean
from heed.cli.compare import compare
from heed.cli.evaluate import evaluate
from heed.cli.export import export
from heed.cli.fit import fit
from heed.cli.interactive import interactive
from heed.cli.messages import messages
from heed.cli.options import (
    STDIN,
    AggregationOption,
    CalibrationOption,
    DeviceOption,
    DtypeOption,
    InstructionFileOption,
    InstructionOption,
    JsonOption,
    ModelOption,
    PageOption,
    PresetOption,
    ProfileOption,
    QueryTokensOption,
    ThresholdOption,
    check_page,
    load_guard,
    read_instruction,
    read_text,
)
from heed.cli.output import exit_code, print_json, print_picture, print_table, progress_bar
from heed.cli.scan import scan

if TYPE_CHECKING:
    from heed.guard import Verdict

app = typer.Typer(help="Tell whether untrusted text is being obeyed.", no_args_is_help=True)
app.command()(scan)
app.command()(messages)
app.command()(clean)
app.command()(fit)
app.command()(calibrate)
app.add_typer(feedback.app, name="feedback")
app.command()(interactive)
app.command()(evaluate)
app.command()(compare)
app.command()(export)


@app.command()
def check(
    *,
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE|-", help="The untrusted texts.")] = None,
    instruction: InstructionOption = None,
    instruction_file: InstructionFileOption = None,
    page: PageOption = None,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0 for CI instead of text.")] = False,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    threshold: ThresholdOption = None,
    calibration: CalibrationOption = None,
    preset: PresetOption = "balanced",
    aggregation: AggregationOption = None,
    query_tokens: QueryTokensOption = "first",
    as_json: JsonOption = False,
) -> None:
    """Judge texts, from files or stdin; of several, --json prints one object a line.

    Exit codes: 0 all fine, 1 one is flagged, 2 bad usage or input, 3 could not run, or abstained from one and flagged
    none (it is never fine then).
    """
    files = files or [STDIN]
    if page is not None and len(files) > 1:
        raise typer.BadParameter(f"expected one text for a page, found {len(files)}", param_hint="--page")
    if as_json and as_sarif:
        raise typer.BadParameter("expected one of both, found both", param_hint="--json, --sarif")
    asked = read_instruction(instruction, instruction_file, *files)
    texts = [read_text(file) for file in files]
    check_page(page)
    guard = load_guard(
        model,
        dtype=dtype,
        device=device,
        profile=profile,
        threshold=threshold,
        calibration=calibration,
        preset=preset,
        aggregation=aggregation,
        query_tokens=query_tokens,
    )
    with progress_bar("judging (tokens)", passing=True) as bar:
        verdicts = guard.check_many([(asked, text) for text in texts], progress=bar)
    if page is not None:
        _write_page(verdicts[0], page)
    flagged = {verdict.flagged for verdict in verdicts}
    code = exit_code(True if True in flagged else None if None in flagged else False)
    judged = [(str(file), verdict) for file, verdict in zip(files, verdicts, strict=True)]
    if as_sarif:
        _show_sarif(judged, code)
    else:
        for name, verdict in judged:
            _show(verdict, name=name, heading=len(judged) > 1, as_json=as_json)
    raise typer.Exit(code)


def _write_page(verdict: "Verdict", page: Path) -> None:
    from heed.picture import show

    show(verdict).html(page)


def _show_sarif(judged: list[tuple[str, "Verdict"]], code: int) -> None:
    from heed.integrations.sarif import sarif

    print_json(sarif(judged, exit_code=code))


def _show(verdict: "Verdict", *, name: str, heading: bool, as_json: bool) -> None:
    from heed.picture import show

    if as_json:
        print_json({"id": name, "model": verdict.model, **verdict.record(), "notes": list(verdict.notes)})
        return
    if heading:
        print_table([(name,)], header=False)
    print_picture(show(verdict))
