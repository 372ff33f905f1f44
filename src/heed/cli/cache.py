"""`heed cache`: what heed keeps on this disk, and emptying it."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.options import JsonOption
from heed.cli.output import print_json, print_table, tell

if TYPE_CHECKING:
    from heed.probe import AnalysesInfo

app = typer.Typer(help="See and empty heed's cache.", no_args_is_help=True)


@app.command()
def info(as_json: JsonOption = False) -> None:
    """Say where the cache is, what is in it and how large it is."""
    from heed.model.cache import cache_info
    from heed.probe import analyses_info

    found, kept = cache_info(), analyses_info()
    if as_json:
        entries = {"path": str(found.path), "entries": [str(path) for path in found.entries], "mb": found.mb}
        print_json({**entries, "analyses": _record(kept)})
    else:
        names = ", ".join(path.name for path in found.entries) or "nothing"
        analyses = f"{kept.entries} analyses, at most {kept.limit_mb:.0f} MB (HEED_ANALYSES_MB)"
        rows = [(str(found.path), f"{found.mb:.0f}", names), (str(kept.path), f"{kept.mb:.0f}", analyses)]
        print_table([("cache", "MB", "holds"), *rows])


@app.command()
def clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    only_analyses: Annotated[
        bool, typer.Option("--analyses", help="Delete what `heed show` kept, nothing else.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what `heed show` kept, the embedded model and the remains of interrupted pulls. Asks first.

    Served pictures get new addresses then.
    """
    from heed.model.cache import CacheInfo, cache_info, clear_cache
    from heed.picture.secret import forget_tokens
    from heed.probe import analyses_info, clear_analyses

    nothing = CacheInfo(analyses_info().path, (), 0.0)
    if not yes:
        if not _on_a_terminal():
            raise typer.BadParameter("expected a terminal to ask on, found none: add --yes", param_hint="--yes")
        found = nothing if only_analyses else cache_info()
        if not typer.confirm(f"Delete {found.mb + analyses_info().mb:.0f} MB below {found.path}?", err=True):
            tell("nothing was deleted")
            return
    kept = clear_analyses()
    if not only_analyses:
        forget_tokens()
    deleted = nothing if only_analyses else clear_cache()
    if as_json:
        entries = {"path": str(deleted.path), "deleted": [str(path) for path in deleted.entries], "mb": deleted.mb}
        print_json({**entries, "analyses": _record(kept)})
    else:
        print(f"deleted {deleted.mb + kept.mb:.0f} MB below {deleted.path}")


def _record(kept: "AnalysesInfo") -> dict[str, str | float]:
    return {"path": str(kept.path), "entries": kept.entries, "mb": kept.mb, "limit_mb": kept.limit_mb}


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()
