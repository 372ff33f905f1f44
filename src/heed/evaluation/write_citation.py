"""An evaluation of citation as files: report.json, report.md, rankings.jsonl, and one page that holds the tables."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from heed.evaluation.cited import BASELINE, REMOVED, CitationEvaluation
from heed.evaluation.guard import Table
from heed.jobs.output import encode_record, storing, write_atomically
from heed.picture.visible import spelled

READING = (
    "R@k: the share of the gold facts among the first k, a mean over questions; in the header what an oracle reaches, "
    "for some questions have more gold facts than k. all@5: how often one sufficient set of facts stands whole among "
    "the first five.",
    f"Differences to {BASELINE} are paired, on the same questions, with 95 % bootstrap intervals; a star in the "
    "overview means that the interval leaves out 0. Where n is smaller than the set, the method was asked a "
    "random part of it. An interval over fewer than five questions, and of one above all, says next to nothing.",
    f"drop@{REMOVED}: how much log-probability (nats) the given answer loses when the first {REMOVED} facts are taken "
    "out of the context; the row `random` is its floor. Reordered: how recall@5 changes when the same facts stand in "
    "another order. Swapped: recall@5 when the words of another question are asked: what is left is position and "
    "chance.",
    "passes, s and MB are forward passes, seconds and peak memory beyond what was held before, of one question.",
)


def write_citation_report(evaluation: CitationEvaluation, folder: Path) -> tuple[Path, ...]:
    """Write an evaluation into a folder, created where it is missing; files of an earlier one are replaced.

    Returns the files: ``report.html``, which needs none of the others, ``report.md``, ``report.json`` and
    ``rankings.jsonl`` (one line for each question, method and regime; no text).

    Raises
    ------
    JobError
        If they cannot be written.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "report.html": page(evaluation).encode(),
        "report.md": markdown(evaluation).encode(),
        "report.json": encode_record(evaluation.record()),
        "rankings.jsonl": b"".join(map(encode_record, evaluation.rankings)),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return tuple(folder / name for name in contents)


def page(evaluation: CitationEvaluation) -> str:
    """One self-contained HTML page: no script, nothing fetched, light and dark; names of sets and methods escaped."""
    drawn = {one.title: one for one in evaluation.sets}
    tables = [(title, table, drawn.get(title)) for title, table in evaluation.tables()]
    return _template().render(evaluation=evaluation, tables=tables, reading=READING)


def markdown(evaluation: CitationEvaluation) -> str:
    """The tables as Markdown, from second-level headings on, with what must be known to read them."""
    parts = ["\n".join(f"* {_escaped(line)}" for line in (*READING, *evaluation.notes))]
    for title, table in evaluation.tables():
        parts += [f"## {_escaped(title)}", _table(table)]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    rows = [f"| {' | '.join(map(_escaped, row))} |" for row in table]
    return "\n".join([rows[0], "|---|" + "---:|" * (len(table[0]) - 1), *rows[1:]])


def _escaped(text: str) -> str:
    return " ".join(spelled(text).replace("|", "\\|").replace("<", "&lt;").split())


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["spelled"] = spelled
    return environment.from_string(files("heed.evaluation").joinpath("citation.html.j2").read_text(encoding="utf-8"))
