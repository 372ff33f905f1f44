"""How the commands print: values come in, text on stdout and progress on stderr go out.

Results go to stdout, everything else to stderr. Hostile text cannot move the cursor: it is spelled out first.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from heed.picture import Picture

FINE, FLAGGED, ABSTAINED = 0, 1, 3

_NARROWEST = 40


def exit_code(flagged: bool | None) -> int:
    """What a command exits with after a verdict; ``flagged`` is None where the guard abstained: it is never fine."""
    return ABSTAINED if flagged is None else FLAGGED if flagged else FINE


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line, in ASCII."""
    print(json.dumps(value, allow_nan=False))


def tell(line: str) -> None:
    """Say something beside the result, on stderr."""
    from heed.picture.visible import spelled

    print(spelled(line), file=sys.stderr)


def print_table(rows: Sequence[Sequence[str]], *, header: bool = True) -> None:
    """Print a table; its first row is the header, if there is one."""
    from heed.picture.visible import spelled

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for title in rows[0]:
        table.add_column(title, overflow="fold")
    for row in rows[header:]:
        table.add_row(*(Text(spelled(cell)) for cell in row))
    console = Console()
    with console.capture() as drawn:  # rich's own printing answers a broken pipe with exit code 1
        console.print(table)
    print("\n".join(line.rstrip() for line in drawn.get().split("\n")[:-1]))


def print_picture(picture: "Picture") -> None:
    """Print a picture as wide as the terminal, coloured where the terminal wants colour."""
    console = Console()
    colour = console.is_terminal and not console.no_color
    print(picture.text(width=max(_NARROWEST, console.width), colour=colour))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal what is being done, for as long as it is being done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(f"{what} …")):
        yield


@contextmanager
def progress_bar(label: str, *, passing: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's stderr; what is given must be called with done and total. ``passing``: it does not stay."""
    with progress_bars(label, passing=passing) as (bar,):
        yield bar


@contextmanager
def progress_bars(*labels: str, passing: bool = False) -> Iterator[list[Callable[[int, int], None]]]:
    """Bars below each other; see `progress_bar`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=passing, disable=not console.is_terminal) as bars:

        def bar(task: TaskID) -> Callable[[int, int], None]:
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield [bar(bars.add_task(label, total=None)) for label in labels]
