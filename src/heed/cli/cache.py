"""`heed cache`: what heed keeps on this disk, and emptying it."""

import sys
from typing import Annotated

import typer

from heed.cli.options import JsonOption
from heed.cli.output import print_json, print_table, tell

app = typer.Typer(help="See and empty heed's cache.", no_args_is_help=True)


@app.command()
def info(as_json: JsonOption = False) -> None:
    """Say where the cache is, what is in it and how large it is."""
    from heed.model.cache import cache_info

    found = cache_info()
    if as_json:
        print_json({"path": str(found.path), "entries": [str(path) for path in found.entries], "mb": found.mb})
    else:
        entries = ", ".join(path.name for path in found.entries) or "nothing"
        print_table([("cache", "MB", "holds"), (str(found.path), f"{found.mb:.0f}", entries)])


@app.command()
def clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete the embedded model and the remains of interrupted pulls. Asks first."""
    from heed.model.cache import cache_info, clear_cache

    if not yes:
        if not _on_a_terminal():
            raise typer.BadParameter("expected a terminal to ask on, found none: add --yes", param_hint="--yes")
        found = cache_info()
        if not typer.confirm(f"Delete {found.mb:.0f} MB below {found.path}?", err=True):
            tell("nothing was deleted")
            return
    deleted = clear_cache()
    if as_json:
        print_json({"path": str(deleted.path), "deleted": [str(path) for path in deleted.entries], "mb": deleted.mb})
    else:
        print(f"deleted {deleted.mb:.0f} MB below {deleted.path}")


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()
