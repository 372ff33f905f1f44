"""`heed guard messages`: a conversation comes in as JSON, a verdict for each untrusted text in it goes out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.cli.options import (
    STDIN,
    AggregationOption,
    CalibrationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    PageOption,
    PresetOption,
    ProfileOption,
    QueryTokensOption,
    ThresholdOption,
    check_page,
    load_guard,
    read_text,
)
from heed.cli.output import exit_code, print_json, print_picture
from heed.errors import RecordError

if TYPE_CHECKING:
    from heed.guard.messages import Source


def messages(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="JSON: a list of messages, or a request.")] = STDIN,
    untrusted: Annotated[
        list[str] | None,
        typer.Option(
            "--untrusted",
            metavar="SOURCE",
            help="Whose texts to judge: user, assistant, tool, tool_calls. May be repeated.",
            show_default="tool",
        ),
    ] = None,
    page: PageOption = None,
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
    """Judge the untrusted texts of a conversation: tool outputs and documents, and whatever `--untrusted` names.

    The file holds a list of chat messages as OpenAI and Anthropic define them, or a request that has them under
    `messages` (and, as Anthropic's, `system`). Each text is judged against the system messages and the user's request
    before it.

    Exit codes: 0 fine; 1 a text is flagged; 2 bad usage or input; 3 could not run, or abstained from a text and
    flagged none.
    """
    said = conversation(read_text(file), file)
    sources = _sources(untrusted)
    check_page(page)
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
    verdict = guard.check_messages(said, untrusted=sources)
    from heed.picture import show

    picture = show(verdict)
    if page is not None:
        picture.html(page)
    if as_json:
        print_json({"id": str(file), "model": guard.model.name, **verdict.record()})
    else:
        print_picture(picture)
    raise typer.Exit(exit_code(verdict.flagged))


def _sources(words: list[str] | None) -> "tuple[Source, ...]":
    known: tuple[Source, ...] = ("user", "assistant", "tool", "tool_calls")
    unknown = [word for word in words or () if word not in known]
    if unknown:
        raise typer.BadParameter(f"expected one of {', '.join(known)}, found {unknown[0]!r}", param_hint="--untrusted")
    return ("tool",) if words is None else tuple(source for source in known if source in words)


def conversation(text: str, file: Path) -> list[Any]:
    """The messages of a conversation in JSON; ``file`` is where it came from.

    Raises
    ------
    RecordError
        If it is none.
    """
    where = "stdin" if file == STDIN else file
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"expected JSON in {where}, found: {error}; correct the file") from error
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        system = value.get("system")
        return [*([] if system is None else [{"role": "system", "content": system}]), *value["messages"]]
    if not isinstance(value, list):
        found = "an object without a list of messages" if isinstance(value, dict) else type(value).__name__
        raise RecordError(f"expected a list of messages in {where}, or an object that has one, found {found}")
    return value
