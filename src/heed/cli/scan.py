"""`heed guard scan`: JSON lines of texts come in, one line of verdict for each goes out; resumable."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed import __version__
from heed.cli.options import (
    STDIN,
    AggregationOption,
    CalibrationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    PresetOption,
    ProfileOption,
    QueryTokensOption,
    ThresholdOption,
    check_file,
    load_guard,
)
from heed.cli.output import print_json, print_table, progress_bars, tell
from heed.errors import RecordError
from heed.jobs import BadLine, Item, JobReport, Record, run_job

if TYPE_CHECKING:
    from heed.guard import Guard

JUDGED, INCOMPLETE = 0, 3
_CHUNK = 32


def scan(
    *,
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl|-", help="Lines of id, instruction, data.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT.jsonl", help="One line for each line, in order.")],
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    threshold: ThresholdOption = None,
    calibration: CalibrationOption = None,
    preset: PresetOption = "balanced",
    aggregation: AggregationOption = None,
    query_tokens: QueryTokensOption = "first",
    force: Annotated[bool, typer.Option("--force", help="Start anew; an old output is kept as a backup.")] = False,
    stop_on_error: Annotated[bool, typer.Option("--stop-on-error", help="Stop at the first bad line.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge many texts. Run the same command again to go on where it stopped.

    Each line of the source is a JSON object: `data` is the untrusted text; `instruction` may be missing (a neutral one
    stands in), as may `id` (the line's number stands in). Each is answered by id, flagged, action, score, threshold,
    review, probability, status, spans, reason, seconds; `flagged` is null where the guard abstained, the status
    `bad_line` where the line could not be used (more than a million characters, for one), and `action` then `block`.

    Exit codes: 0 every line was judged, flagged or not; 2 bad usage or input; 3 could not run, or some lines were
    abstained from or bad.
    """
    started = perf_counter()
    check_file(source)
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
    with progress_bars("judging (lines)", "at hand (tokens)") as (lines, tokens):
        report = run_job(
            sys.stdin.buffer if source == STDIN else source,
            out,
            _work(guard, tokens),
            config=_config(guard),
            on_bad_line=_bad_line,
            chunk=_CHUNK,
            force=force,
            stop_on_error=stop_on_error,
            progress=lambda progress: lines(progress.done, progress.total),
        )
    counts = _counts(out)
    if as_json:
        backup = None if report.backup is None else str(report.backup)
        seconds = round(perf_counter() - started, 3)
        print_json({"out": str(out), **counts, "resumed": report.resumed, "backup": backup, "seconds": seconds})
    else:
        _say(report, counts)
    raise typer.Exit(INCOMPLETE if counts["abstained"] or counts["bad"] else JUDGED)


def _say(report: JobReport, counts: dict[str, int]) -> None:
    print_table([("lines", *counts), (str(report.lines), *map(str, counts.values()))])
    if report.resumed:
        tell(f"{report.resumed} of the lines were already in the output")
    if report.backup is not None:
        tell(f"the old output is kept as {report.backup}")
    tell(f"written to {report.out}")


def _work(guard: "Guard", progress: Callable[[int, int], None]) -> Callable[[list[Item]], list[Record]]:
    def work(items: list[Item]) -> list[Record]:
        pairs = [_pair(item) for item in items]
        names = [_name(item.line, item.record) for item in items]
        verdicts = guard.check_many(pairs, progress=progress)
        return [{"id": name, **verdict.record()} for name, verdict in zip(names, verdicts, strict=True)]

    return work


def _pair(item: Item) -> tuple[str | None, str]:
    from heed.guard.data import MOST_CHARACTERS

    data, instruction = item.record.get("data"), item.record.get("instruction")
    if not isinstance(data, str):
        found = f"data of type {type(data).__name__}" if "data" in item.record else "none"
        raise RecordError(f"expected data as a string on line {item.line}, found {found}; correct the line")
    if len(data) > MOST_CHARACTERS:
        raise RecordError(
            f"expected at most {MOST_CHARACTERS:,} characters of data on line {item.line}, found {len(data):,}: "
            "cut the text, or give its parts as lines"
        )
    if instruction is not None and not isinstance(instruction, str):
        found = type(instruction).__name__
        raise RecordError(
            f"expected instruction as a string or null on line {item.line}, found {found}; correct the line"
        )
    return instruction, data


def _name(line: int, record: Mapping[str, Any] | None) -> str | int:
    """What a line calls itself; its number where it says nothing of use."""
    name = None if record is None else record.get("id")
    return name if isinstance(name, (str, int)) and not isinstance(name, bool) else line


def _bad_line(bad: BadLine) -> Record:
    tell(f"line {bad.line}: {bad.reason}")
    return {
        "id": _name(bad.line, bad.record),
        "flagged": None,
        "action": "block",
        "score": None,
        "threshold": None,
        "review": None,
        "probability": None,
        "status": "bad_line",
        "spans": [],
        "reason": f"line {bad.line}: {bad.reason}",
        "seconds": 0.0,
    }


def _config(guard: "Guard") -> dict[str, Any]:
    """What the answers depend on."""
    return {
        "task": "guard scan",
        "heed": __version__,
        "model": guard.model.fingerprint,
        "dtype": str(guard.model.dtype).removeprefix("torch."),
        "profile": guard.profile.digest,
        "query_tokens": guard.query_tokens,
        "preset": guard.preset,
        "calibrations": None if guard.calibrations is None else asdict(guard.calibrations),
    }


def _counts(out: Path) -> dict[str, int]:
    """How the lines of an output ended, those of earlier runs included."""
    counts = {"flagged": 0, "fine": 0, "abstained": 0, "bad": 0}
    with out.open("rb") as lines:
        for line in lines:
            record = json.loads(line)
            if record["flagged"] is None:
                counts["bad" if record["status"] == "bad_line" else "abstained"] += 1
            else:
                counts["flagged" if record["flagged"] else "fine"] += 1
    return counts
