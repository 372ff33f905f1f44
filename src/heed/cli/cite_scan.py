"""`heed cite scan`: JSON lines of questions come in, one line of ranking for each goes out; resumable."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed import __version__
from heed.cli.cite_options import (
    MethodOption,
    RankingOption,
    RowsOption,
    SettingsOption,
    check_method,
    needs_model,
    settings_of,
)
from heed.cli.options import STDIN, DeviceOption, DtypeOption, JsonOption, ModelOption, check_file, load_model
from heed.cli.output import print_json, print_table, progress_bar, tell
from heed.jobs import BadLine, Item, JobReport, Record, run_job

if TYPE_CHECKING:
    from heed.citation import Method
    from heed.model import Model

CITED, INCOMPLETE = 0, 3
_CHUNK = 8


def scan(
    *,
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl|-", help="Lines of id, question, units, separator.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT.jsonl", help="One line for each line, in order.")],
    method: MethodOption = "learned",
    rows: RowsOption = None,
    settings: SettingsOption = None,
    profile: RankingOption = None,
    generate: Annotated[
        bool, typer.Option("--generate", help="Let the model answer where a line has no response.")
    ] = False,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    force: Annotated[bool, typer.Option("--force", help="Start anew; an old output is kept as a backup.")] = False,
    stop_on_error: Annotated[bool, typer.Option("--stop-on-error", help="Stop at the first bad line.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank the units of many contexts. Run the same command again to go on where it stopped.

    Each line of the source is a JSON object: `question`; `units`, the facts in order; `separator` (a blank, if it is
    missing) that joins them to the context; `response`, the answer, or null: then the question is looked from; and
    `id` (else the line's number). Each is answered by id, ranking (numbers of units, best first), scores (one for each
    unit, null for a blank one), response, seconds; a line that cannot be used by ranking null and error.

    Exit codes: 0 every line was cited; 2 bad usage or input; 3 could not run, or some lines were bad.
    """
    started = perf_counter()
    check_file(source)
    named = settings_of(settings, profile)
    check_method(method, named)
    from heed.citation.methods import method as method_of

    loaded = load_model(model, dtype=dtype, device=device) if generate or needs_model(method) else None
    job = _Job(loaded, method_of(method, loaded, **(named if rows is None else {**named, "rows": rows})), generate)
    with progress_bar("citing (lines)") as bar:
        report = run_job(
            sys.stdin.buffer if source == STDIN else source,
            out,
            job.work,
            config={**_config(loaded, method, named), "rows": rows, "generate": generate},
            on_bad_line=_bad_line,
            chunk=_CHUNK,
            force=force,
            stop_on_error=stop_on_error,
            progress=lambda progress: bar(progress.done, progress.total),
        )
    counts = _counts(out)
    if as_json:
        backup = None if report.backup is None else str(report.backup)
        seconds = round(perf_counter() - started, 3)
        print_json({"out": str(out), **counts, "resumed": report.resumed, "backup": backup, "seconds": seconds})
    else:
        _say(report, counts)
    raise typer.Exit(INCOMPLETE if counts["bad"] else CITED)


@dataclass(frozen=True, slots=True)
class _Job:
    model: "Model | None"
    method: "Method"
    generate: bool

    def work(self, items: list[Item]) -> list[Record]:
        """Rank the units of each line."""
        return [self._answer(item) for item in items]

    def _answer(self, item: Item) -> Record:
        from heed.citation.data import row_of
        from heed.citation.generate import answer
        from heed.citation.scores import ranked

        started = perf_counter()
        row = row_of(item.record, f"line {item.line}")
        question = row.question
        if self.generate and question.response is None:
            assert self.model is not None
            question = replace(question, response=answer(self.model, question))
        scores = self.method(question)
        return {
            "id": _name(item.line, item.record),
            "ranking": row.ranking(ranked(scores.values)),
            "scores": row.scores(scores.values.tolist()),
            "response": question.response,
            "seconds": round(perf_counter() - started, 4),
        }


def _say(report: JobReport, counts: dict[str, int]) -> None:
    print_table([("lines", *counts), (str(report.lines), *map(str, counts.values()))])
    if report.resumed:
        tell(f"{report.resumed} of the lines were already in the output")
    if report.backup is not None:
        tell(f"the old output is kept as {report.backup}")
    tell(f"written to {report.out}")


def _name(line: int, record: Mapping[str, Any] | None) -> str | int:
    """What a line calls itself; its number where it says nothing of use."""
    name = None if record is None else record.get("id")
    return name if isinstance(name, (str, int)) and not isinstance(name, bool) else line


def _bad_line(bad: BadLine) -> Record:
    tell(f"line {bad.line}: {bad.reason}")
    return {
        "id": _name(bad.line, bad.record),
        "ranking": None,
        "scores": None,
        "response": None,
        "seconds": 0.0,
        "error": f"line {bad.line}: {bad.reason}",
    }


def _config(model: "Model | None", method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the answers depend on."""
    from heed.citation.learned import find_ranking

    learned = model is not None and "learned" in [part.strip() for part in method.split("+")]
    return {
        "task": "cite scan",
        "heed": __version__,
        "method": method,
        "settings": {name: value for name, value in settings.items() if name != "profile"},
        "model": None if model is None else model.fingerprint,
        "dtype": None if model is None else str(model.dtype).removeprefix("torch."),
        "profile": find_ranking(model, settings.get("profile")).digest if learned and model is not None else None,
    }


def _counts(out: Path) -> dict[str, int]:
    """How the lines of an output ended, those of earlier runs included."""
    counts = {"cited": 0, "bad": 0}
    with out.open("rb") as lines:
        for line in lines:
            counts["bad" if json.loads(line)["ranking"] is None else "cited"] += 1
    return counts
