"""A run as one HTML page: a table of all examples, and for each its context with the cited facts marked.

No script, nothing fetched, light and dark; every text is escaped and its invisible characters are spelled out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from heed.evaluation.runs.samples import Run
from heed.evaluation.runs.summary import Summary
from heed.jobs.lines import Record
from heed.jobs.output import write_atomically
from heed.picture.visible import spelled

GRADES = ("correct", "wrong", "unparsed", "timeout", "error")
"""What the page can be filtered by."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a context: its text, the rank of the fact it is (0: not cited), and whether it is gold."""

    text: str
    rank: int
    gold: bool


def write_page(run: Run, path: Path | None = None) -> Path:
    """Write the page, by default as ``report.html`` into the run's folder.

    Raises
    ------
    JobError
        If it cannot be written.
    """
    place = run.folder / "report.html" if path is None else path
    write_atomically(place, page(run).encode("utf-8", "replace"))
    return place


def page(run: Run) -> str:
    """The page as a string."""
    summary = run.summary
    return _template().render(
        run=run,
        summary=summary,
        facts=list(_facts(run, summary)),
        samples=[(sample, outcome(sample), list(stretches(sample))) for sample in run.samples],
        grades=[grade for grade in GRADES if any(outcome(sample) == grade for sample in run.samples)],
    )


def outcome(sample: Record) -> str:
    """The grade of a sample, or why it has none."""
    return str(sample["grade"] if sample["status"] == "ok" else sample["status"])


def stretches(sample: Record) -> Iterator[Stretch]:
    """A sample's context cut at the borders of its facts."""
    context, attention = sample["context"], sample["attention"]
    units = [] if attention is None else attention["units"]
    ranks = {} if attention is None else {fact["index"]: rank for rank, fact in enumerate(attention["facts"], 1)}
    gold, end = {*(sample["gold"] or ())}, 0
    for index, (start, stop) in enumerate(units):
        if end < start:
            yield Stretch(context[end:start], 0, gold=False)
        yield Stretch(context[start:stop], ranks.get(index, 0), gold=index in gold)
        end = stop
    if end < len(context):
        yield Stretch(context[end:], 0, gold=False)


def _facts(run: Run, summary: Summary) -> Iterator[tuple[str, str]]:
    """What stands at the head of the page: labels and values."""
    answers, attention = run.config["answers"], run.config["attention"]
    yield "result", summary.line
    if summary.accuracy_parsed is not None and summary.unparsed:
        yield "of the answers that could be parsed", f"{summary.accuracy_parsed:.1%} correct"
    yield "answered by", _settings(answers)
    yield "template", run.config["template"]["name"]
    if attention is not None:
        yield "attention read by", _settings({name: attention[name] for name in ("model", "method", "dtype")})
        counts = ", ".join(f"{count} {status}" for status, count in summary.attention.items())
        yield "readings", counts
    if summary.overhead is not None:
        yield "attention took", f"{summary.overhead:.0%} of the time of answering"
    if summary.context_mass is not None:
        yield "attention on the context", f"{summary.context_mass:.1%}"
    if summary.recall is not None:
        yield "gold facts cited", ", ".join(f"{share:.1%} {cut}" for cut, share in summary.recall.items())
    for grade, shares in summary.recall_by_grade.items():
        yield f"gold facts cited, {grade} answers", ", ".join(f"{share:.1%} {cut}" for cut, share in shares.items())


def _settings(values: Record) -> str:
    shown = [f"{name} {value}" for name, value in values.items() if name != "model" and value is not None]
    return ", ".join([str(values["model"]), *shown])


def _text(value: Any) -> str:
    return spelled(" or ".join(value) if isinstance(value, list) else "" if value is None else str(value))


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["spelled"] = _text
    return environment.from_string(files("heed.evaluation.runs").joinpath("report.html.j2").read_text(encoding="utf-8"))
