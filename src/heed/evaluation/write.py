"""An evaluation as files: report.json, scores.jsonl, three pictures, and one page that holds them all."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from heed.evaluation.charts import Chart, calibration, histogram, roc
from heed.evaluation.guard import Evaluation
from heed.evaluation.judged import Judged
from heed.evaluation.records import export
from heed.jobs.output import encode_record, storing, write_atomically
from heed.picture.visible import spelled

_TITLES = ("How the scores rank", "What the guard's own threshold does", "Kinds of rows")


def write_report(evaluation: Evaluation, folder: Path) -> tuple[Path, ...]:
    """Write an evaluation into a folder, created where it is missing; files of an earlier one are replaced.

    Returns the files: ``report.json``, ``scores.jsonl`` (one line a row, no text), ``roc.svg``, ``calibration.svg``,
    ``histogram.svg`` (as far as there is something to draw) and ``report.html``, which needs none of the others.

    Raises
    ------
    JobError
        If they cannot be written.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "roc.svg": roc(evaluation.judged),
        "calibration.svg": calibration(evaluation.judged),
        "histogram.svg": histogram(evaluation.judged),
    }
    pictures = {name: chart for name, chart in drawn.items() if chart is not None}
    for name in drawn.keys() - pictures.keys():
        (folder / name).unlink(missing_ok=True)  # a picture of an earlier evaluation would be taken for this one's
    export(scores(evaluation.judged), folder / "scores.jsonl")
    write_atomically(folder / "report.json", encode_record(evaluation.record()))
    for name, chart in pictures.items():
        write_atomically(folder / name, chart.svg.encode())
    write_atomically(folder / "report.html", page(evaluation, tuple(pictures.values())).encode())
    return tuple(folder / name for name in ("report.html", "report.json", "scores.jsonl", *pictures))


def scores(judged: Judged) -> list[dict[str, Any]]:
    """One record for each row: id, set, label, score, flagged and status; no text."""
    return [
        {
            "id": pair.id,
            "set": pair.group,
            "label": pair.label,
            "score": verdict.score,
            "flagged": verdict.flagged,
            "status": verdict.status,
        }
        for pair, verdict in zip(judged.pairs, judged.verdicts, strict=True)
    ]


def page(evaluation: Evaluation, charts: tuple[Chart, ...]) -> str:
    """One self-contained HTML page: no script, nothing fetched, light and dark; names of sets and attacks escaped."""
    return _template().render(
        evaluation=evaluation,
        rates=evaluation.overall.rates,
        charts=[(chart, Markup(chart.svg)) for chart in charts],  # noqa: S704 - escaped where it was drawn
        tables=list(zip(_TITLES, evaluation.tables(), strict=False)),
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["spelled"] = spelled
    return environment.from_string(files("heed.evaluation").joinpath("page.html.j2").read_text(encoding="utf-8"))
