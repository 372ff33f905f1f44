"""`heed guard`: one text to a verdict, a file of texts to a file of verdicts, labelled texts to a profile."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.fit import fit
from heed.cli.options import (
    STDIN,
    AggregationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    PageOption,
    ProfileOption,
    QueryTokensOption,
    ThresholdOption,
    check_page,
    load_guard,
    read_text,
)
from heed.cli.output import print_json, print_picture, write_page
from heed.cli.scan import scan

if TYPE_CHECKING:
    from heed.guard import Verdict

FINE, FLAGGED, ABSTAINED = 0, 1, 3

app = typer.Typer(help="Tell whether untrusted text is being obeyed.", no_args_is_help=True)
app.command()(scan)
app.command()(fit)


@app.command()
def check(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="The untrusted text.")] = STDIN,
    instruction: Annotated[
        str | None, typer.Option("--instruction", help="What the application asks of the model.")
    ] = None,
    instruction_file: Annotated[
        Path | None,
        typer.Option("--instruction-file", metavar="FILE", help="The same, from a file."),
    ] = None,
    page: PageOption = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    threshold: ThresholdOption = None,
    aggregation: AggregationOption = None,
    query_tokens: QueryTokensOption = "first",
    as_json: JsonOption = False,
) -> None:
    """Judge one text, from a file or stdin.

    Exit codes: 0 fine, 1 flagged, 2 bad usage or input, 3 could not run or abstained (it is never fine then).
    """
    if instruction is not None and instruction_file is not None:
        raise typer.BadParameter("expected one of both, found both", param_hint="--instruction, --instruction-file")
    if instruction_file == file == STDIN:
        raise typer.BadParameter("expected stdin for one text, found it for both", param_hint="--instruction-file")
    asked = instruction if instruction_file is None else read_text(instruction_file)
    data = read_text(file)
    check_page(page)
    guard = load_guard(
        model,
        dtype=dtype,
        device=device,
        profile=profile,
        threshold=threshold,
        aggregation=aggregation,
        query_tokens=query_tokens,
    )
    verdict = guard.check(asked, data)
    _show(verdict, name=str(file), page=page, as_json=as_json)
    raise typer.Exit(ABSTAINED if verdict.flagged is None else FLAGGED if verdict.flagged else FINE)


def _show(verdict: "Verdict", *, name: str, page: Path | None, as_json: bool) -> None:
    from heed.picture import show

    picture = show(verdict)
    if page is not None:
        write_page(picture, page)
    if as_json:
        print_json({"id": name, "model": verdict.model, **verdict.record(), "notes": list(verdict.notes)})
    else:
        print_picture(picture)
