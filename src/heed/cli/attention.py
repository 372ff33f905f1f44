"""`heed attention`: distance attention on this machine."""

from typing import Annotated, Literal

import typer

from heed.cli.options import DeviceOption, JsonOption
from heed.cli.output import print_json, working

PASSED, FAILED = 0, 1

app = typer.Typer(help="Distance attention: prove that it is right on this machine.", no_args_is_help=True)


@app.command()
def selftest(
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Check this metric; may be repeated. Default: all."),
    ] = None,
    backend: Annotated[
        Literal["auto", "reference", "fused", "sdpa", "tiled", "triton"],
        typer.Option("--backend", help="The path to check; auto: for each metric the one that would run."),
    ] = "auto",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every metric against double precision: forward, gradient, masks, dropout, threads, 16 bits.

    Exit codes: 0 all passed, 1 some failed, 2 bad usage or input, 3 could not run.
    """
    from heed.attention.distance import native
    from heed.attention.selftests import selftest

    with working("preparing the CPU kernel: where none came with heed, it is compiled now, once"):
        native.status()
    with working("checking distance attention"):
        report = selftest(metrics, backend=backend, device=device or "cpu")
    if as_json:
        print_json(report.record())
    else:
        print(report)
    raise typer.Exit(FAILED if report.failures else PASSED)
