"""Options that several commands share: words of the command line come in, texts and a loaded guard go out.

A bad word or file is found before a model is loaded. It does not know what a command does with what it gets.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.errors import InputError, TextError
from heed.reduce.contrast import Aggregation

if TYPE_CHECKING:
    from heed.guard import Guard
    from heed.guard.guard import QueryTokens
    from heed.model import Model

STDIN = Path("-")
PROFILE_NAMES = ("fast", "full")

PresetName = Literal["strict", "balanced", "permissive"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]

ModelOption = Annotated[
    str, typer.Option("--model", metavar="NAME", help="Hub id, folder, GGUF file, or `embedded`.", show_default=True)
]
DtypeOption = Annotated[DtypeName, typer.Option("--dtype", help="Number format of the weights.")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:<n> or mps.", show_default="cpu")
]


def check_profile(value: str | None) -> str | None:
    """A profile's name, or the path of one that exists.

    Raises
    ------
    typer.BadParameter
        If it is neither.
    """
    if value is None or value in PROFILE_NAMES or Path(value).exists():
        return value
    raise typer.BadParameter(f"expected {' or '.join(PROFILE_NAMES)}, or a file or folder, found {value!r}")


ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="fast|full|PATH",
        callback=check_profile,
        help="Profile (shipped, a file or a folder); else the one known for the model.",
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", min=0.0, max=1.0, help="Flag from this risk on; else as the profile was calibrated."),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration", metavar="FILE", exists=True, dir_okay=False, help="Calibration; else the profile's own."
    ),
]
PresetOption = Annotated[
    PresetName, typer.Option("--preset", help="Which of the calibration's thresholds: strict flags more.")
]
AggregationOption = Annotated[
    Aggregation | None,
    typer.Option("--aggregation", help="How attention on instruction and data is compared; else the profile's."),
]
QueryTokensOption = Annotated[
    str,
    typer.Option("--query-tokens", metavar="first|all|N", help="Tokens of the answer that the attention is read from."),
]
InstructionOption = Annotated[
    str | None, typer.Option("--instruction", metavar="TEXT", help="What the application asks of the model.")
]
InstructionFileOption = Annotated[
    Path | None, typer.Option("--instruction-file", metavar="FILE", help="The same, from a file.")
]
PageOption = Annotated[
    Path | None, typer.Option("--page", metavar="FILE", dir_okay=False, help="Also write the picture as an HTML page.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def read_text(path: Path) -> str:
    """The whole text of a file, or of stdin for ``-``, to the letter.

    Raises
    ------
    InputError
        If it cannot be read.
    TextError
        If it is not UTF-8.
    """
    if path == STDIN and sys.stdin.isatty():
        print("reading from the terminal; end with an empty line and Ctrl-D", file=sys.stderr)
    check_file(path)
    try:
        raw = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        raise InputError(f"expected to read {path}, found: {error.strerror}; check its permissions") from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = "stdin" if path == STDIN else str(path)
        raise TextError(
            f"expected UTF-8 in {where}, found 0x{raw[error.start]:02x} at byte {error.start + 1}: "
            "convert the text first"
        ) from error


def read_instruction(instruction: str | None, instruction_file: Path | None, *files: Path) -> str | None:
    """The application's instruction, from the option or its file; ``files`` are those of the untrusted texts.

    Raises
    ------
    typer.BadParameter
        If both are given, or more than one of the files is stdin.
    HeedError
        As `read_text`.
    """
    if instruction is not None and instruction_file is not None:
        raise typer.BadParameter("expected one of both, found both", param_hint="--instruction, --instruction-file")
    if [instruction_file, *files].count(STDIN) > 1:
        raise typer.BadParameter("expected stdin for one text, found it for several", param_hint="'-'")
    return instruction if instruction_file is None else read_text(instruction_file)


def check_file(path: Path, *, stdin: bool = True) -> None:
    """Refuse a file that is not there, before a model is loaded; ``-`` is stdin and always there.

    ``stdin`` is whether the command reads it; where it does not, ``-`` is a file of that name.

    Raises
    ------
    InputError
        If there is nothing at the path, or a folder.
    """
    if not (stdin and path == STDIN) and (path.is_dir() or not path.exists()):
        found = "a folder" if path.is_dir() else "nothing"
        instead = ", or give - for stdin" if stdin else ""
        raise InputError(f"expected a file at {path}, found {found}: check the path{instead}")


def check_page(path: Path | None) -> None:
    """Refuse a page that could not be written, before the work is done.

    Raises
    ------
    InputError
        If its folder does not exist.
    """
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError(f"expected a folder {str(path.parent)!r} for the page, found none: create it first")


def load_model(name: str, *, dtype: DtypeName, device: str | None) -> "Model":
    """Load a model by its name; see `heed.load`."""
    from heed.cli.output import working
    from heed.model import load

    with working(f"loading {name}"):
        return load(name, dtype=dtype, device=device)


def load_guard(
    model: str,
    *,
    dtype: DtypeName,
    device: str | None,
    profile: str | None = None,
    threshold: float | None = None,
    calibration: Path | None = None,
    preset: PresetName = "balanced",
    aggregation: Aggregation | None = None,
    query_tokens: str = "first",
) -> "Guard":
    """Load a model and make its guard.

    Raises
    ------
    typer.BadParameter
        If ``query_tokens`` is none of ``first``, ``all`` and a positive number.
    HeedError
        As `heed.load` and `heed.Guard`.
    """
    tokens = _query_tokens(query_tokens)
    loaded = load_model(model, dtype=dtype, device=device)
    from heed.guard import Guard

    return Guard(
        loaded,
        profile=profile,
        threshold=threshold,
        calibration=calibration,
        preset=preset,
        aggregation=aggregation,
        query_tokens=tokens,
    )


def _query_tokens(word: str) -> "QueryTokens":
    if word == "first":
        return "first"
    if word == "all":
        return "all"
    if word.isascii() and word.isdigit() and int(word) > 0:
        return int(word)
    raise typer.BadParameter(f"expected first, all or a positive number, found {word!r}", param_hint="--query-tokens")
