"""The command `heed`: names the commands, and turns whatever happens into one line and an exit code.

No model library is imported here: help comes at once. It does not know what the commands do.
"""

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from heed import __version__
from heed.cli import attention, cache, cite, guard, models, runs, show
from heed.cli.demo import demo
from heed.errors import HeedError

USAGE, FAILED, INTERRUPTED, BROKEN_PIPE = 2, 3, 130, 141
"""Exit codes beside 0 (fine) and 1 (flagged, or a check that failed)."""

_LOG = logging.getLogger(__name__)

app = typer.Typer(
    name="heed",
    help="Shows what a language model attends to, and acts on it.",
    epilog="Exit codes: 0 fine, 1 flagged or failed check, 2 bad usage or input, 3 could not run or abstained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(guard.app, name="guard")
app.add_typer(cite.app, name="cite")
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")
app.add_typer(attention.app, name="attention")
app.add_typer(show.app, name="show")
app.add_typer(runs.app, name="run")
app.command()(demo)


@dataclass(slots=True)
class _State:
    debug: bool = False
    log_json: bool = False


def _version(value: bool) -> None:
    if value:
        print(f"heed {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and the warnings of libraries.")] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write errors to stderr as JSON lines, too (or HEED_LOG=json).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    from heed.logs import json_lines
    from heed.settings import settings

    context.obj.debug = debug
    context.obj.log_json = log_json or settings().log == "json"
    if context.obj.log_json:
        context.with_resource(json_lines(sys.stderr))
    if not debug:
        context.with_resource(_silence())


def run() -> None:
    """Run the command that the process was started with, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to fail
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what goes wrong is told in one line on stderr.

    Parameters
    ----------
    arguments
        The words after ``heed``; None: those of the process.
    """
    state = _State()
    try:
        return _invoke(sys.argv[1:] if arguments is None else arguments, state)
    except typer.TyperException as error:
        return _fail(state, USAGE, _usage(error))
    except HeedError as error:
        return _fail(state, error.exit_code, f"error: {error}")
    except (KeyboardInterrupt, typer.Abort):
        return _fail(state, INTERRUPTED, "interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush finds a place
        return BROKEN_PIPE
    except Exception as error:
        found = f"{type(error).__name__}: {str(error).partition(os.linesep)[0]}"
        return _fail(state, FAILED, f"internal error: {found} (run `heed --debug …` for the traceback)")


def _invoke(arguments: Sequence[str], state: _State) -> int:
    command, code = typer.main.get_command(app), 0
    try:
        # Not command.main(): it answers a broken pipe with exit code 1, which means "flagged" here.
        with command.make_context("heed", list(arguments), obj=state) as context:
            command.invoke(context)
    except typer.Exit as done:
        code = done.exit_code
    sys.stdout.flush()
    return code


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    where = "heed" if context is None else context.command_path
    message = error.format_message()
    return (
        f"error: {message} (see `{where} --help`)" if message else f"error: a command is missing (see `{where} --help`)"
    )


def _fail(state: _State, code: int, line: str) -> int:
    from heed.picture.visible import spelled

    if state.debug:
        traceback.print_exc()
    print(spelled(line), file=sys.stderr)
    if state.log_json:
        from heed.logs import json_lines

        with json_lines(sys.stderr):
            _LOG.error("the command failed", extra={"exit_code": code}, exc_info=True)
    return code


@contextmanager
def _silence() -> Iterator[None]:
    """No warnings of libraries, neither by `warnings` nor by `logging`."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
