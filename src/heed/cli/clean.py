"""`heed guard clean`: an untrusted text comes in, the text without what was judged injected goes out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.options import (
    STDIN,
    AggregationOption,
    CalibrationOption,
    DeviceOption,
    DtypeOption,
    InstructionFileOption,
    InstructionOption,
    JsonOption,
    ModelOption,
    PresetOption,
    ProfileOption,
    QueryTokensOption,
    ThresholdOption,
    load_guard,
    read_instruction,
    read_text,
)
from heed.cli.output import exit_code, print_json, tell

if TYPE_CHECKING:
    from heed.guard import Sanitized

_LONGEST = 200


def clean(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="The untrusted text.")] = STDIN,
    instruction: InstructionOption = None,
    instruction_file: InstructionFileOption = None,
    mask: Annotated[bool, typer.Option("--mask", help="Leave a notice in place of what is removed.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often at most to remove and judge again.")] = 3,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    threshold: ThresholdOption = None,
    calibration: CalibrationOption = None,
    preset: PresetOption = "balanced",
    aggregation: AggregationOption = None,
    query_tokens: QueryTokensOption = "first",
    as_json: JsonOption = False,
) -> None:
    """Print a text without what was judged injected; what was removed is told on stderr.

    A text that is fine is printed as it is, to the letter. Nothing is printed if the rest is still flagged or the guard
    abstained; `--json` shows it even then. JSON stays valid JSON.

    Exit codes: 0 fine, as it was or cleaned; 1 still flagged; 2 bad usage or input; 3 could not run or abstained, or
    nothing was left.
    """
    asked = read_instruction(instruction, instruction_file, file)
    data = read_text(file)
    guard = load_guard(
        model,
        dtype=dtype,
        device=device,
        profile=profile,
        threshold=threshold,
        calibration=calibration,
        preset=preset,
        aggregation=aggregation,
        query_tokens=query_tokens,
    )
    cleaned = guard.sanitize(asked, data, mode="mask" if mask else "remove", rounds=rounds)
    if as_json:
        print_json({"id": str(file), "model": cleaned.before.model, **cleaned.record()})
    else:
        _show(cleaned)
    raise typer.Exit(exit_code(cleaned.flagged))


def _show(cleaned: "Sanitized") -> None:
    from heed.picture.visible import spelled

    for removal in cleaned.removed:
        text = removal.text if len(removal.text) <= _LONGEST else f"{removal.text[:_LONGEST]}…"
        field = f" in {removal.field}" if removal.field else ""
        tell(f"removed characters {removal.span.start} to {removal.span.end}{field}: {text!r}")
    tell(cleaned.reason)
    if not cleaned.allow:
        return
    if sys.stdout.isatty():
        print(spelled(cleaned.text))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(cleaned.text.encode("utf-8"))  # to the letter, line ends included
