from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from heed.cli.grouped import grouped


@dataclass(frozen=True)
class Colours:
    ink: Annotated[str, typer.Option("--ink", help="Of the letters.")] = "black"
    paper: Annotated[int, typer.Option("--paper")] = 3


def test_fields_are_options_and_come_back_as_one_value():
    app, got = typer.Typer(), []

    @app.command()
    @grouped
    def write(*, name: Annotated[str, typer.Argument()], colours: Colours, loud: bool = False) -> None:
        """Write."""
        got.append((name, colours, loud))

    run = CliRunner().invoke
    assert run(app, ["a", "--ink", "red", "--loud"]).exit_code == 0
    assert run(app, ["b", "--paper", "4"]).exit_code == 0
    assert got == [("a", Colours("red"), True), ("b", Colours(paper=4), False)]
    assert run(app, ["b", "--paper", "x"]).exit_code == 2
    assert "Of the letters." in run(app, ["--help"]).output
