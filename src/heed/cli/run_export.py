"""`heed run export`: a run comes in, a log that another program opens goes out."""

from pathlib import Path
from typing import Annotated

import typer

from heed.cli.options import JsonOption
from heed.cli.output import print_json, tell


def export(
    *,
    run: Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder, OUT/<model>/<task>.")],
    inspect: Annotated[
        Path,
        typer.Option("--inspect", metavar="FILE", dir_okay=False, help="Inspect log to write: .json or .eval."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a run as a log of Inspect (extra `inspect`): `inspect view --log-dir FOLDER` then shows it.

    Exit codes: 0 written, 2 bad usage or input, 3 could not run.
    """
    from heed.evaluation.runs import read_run
    from heed.integrations.inspect_log import check_name, write_log

    check_name(inspect)
    found = read_run(run)
    write_log(found, inspect)
    if as_json:
        print_json({"out": str(inspect), "samples": len(found.samples), "finished": found.finished})
        return
    tell(f"{len(found.samples)} samples written to {inspect}; see them with: inspect view --log-dir {inspect.parent}")
