"""`heed run`: jobs that ask a model every example of a task and keep the attention beside each answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.cli.options import JsonOption
from heed.cli.output import print_json, print_table, tell
from heed.cli.run_export import export
from heed.cli.run_start import FieldOption, fields_of, start
from heed.errors import HeedError, InputError

if TYPE_CHECKING:
    from heed.evaluation.runs import Summary

app = typer.Typer(name="run", help="Evaluation runs with attention beside every answer.", no_args_is_help=True)
app.command("start")(start)
app.command("export")(export)

_FINISHED = {True: "yes", False: "no", None: "damaged"}

RunArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder, OUT/<model>/<task>.")]


@app.command("list")
def list_tasks(
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of all runs.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List the tasks that are found by name (heed's, and those in HEED_TASKS_DIR), and the runs below a folder.

    A file that is no task, and a run that is damaged, are listed with what is wrong with them.

    Exit codes: 0 listed, 2 bad usage or input.
    """
    from heed.evaluation.runs import runs_under, task_names

    tasks = [_listed(name) for name in task_names()]
    runs = [_run(folder) for folder in runs_under(out)]
    if as_json:
        records = [{**about, **({} if summary is None else summary.record())} for about, summary in runs]
        print_json({"tasks": tasks, "runs": records})
        return
    lines = ((one["name"], str(one["examples"] or "none"), one["description"] or one["error"] or "") for one in tasks)
    print_table([("task", "examples", "about"), *lines])
    if runs:
        print()
        rows = (
            (about["folder"], _FINISHED[about["finished"]], about["error"] if summary is None else summary.line)
            for about, summary in runs
        )
        print_table([("run", "finished", "result"), *rows])


def _run(folder: Path) -> "tuple[dict[str, Any], Summary | None]":
    """What a list says of a run, and its summary; of a damaged one, why."""
    from heed.evaluation.runs import read_run

    try:
        run = read_run(folder)
    except HeedError as error:
        return {"folder": str(folder), "finished": None, "error": str(error)}, None
    return {"folder": str(folder), "finished": run.finished, "error": None}, run.summary


def _listed(name: str) -> dict[str, Any]:
    """What a list says of a task; of a file that is none, why."""
    from heed.evaluation.runs import load_task

    try:
        task = load_task(name)
    except InputError as error:
        return {"name": name, "examples": 0, "description": "", "error": str(error)}
    return {"name": name, "examples": len(task.examples), "description": task.description, "error": None}


@app.command()
def validate(
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task file, or a shipped task.")],
    field: FieldOption = None,
    template: Annotated[str | None, typer.Option("--template", metavar="NAME|FILE", help="Template to show.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every example of a task and show the first prompt. Loads no model.

    Exit codes: 0 the task can be run, 2 it cannot; the message names the line or example, and the field.
    """
    from heed.evaluation.runs import load_task
    from heed.evaluation.runs.example import fill
    from heed.evaluation.runs.graders import grader_of

    found = load_task(task, fields=fields_of(field))
    name, text = found.template(template)
    kinds: dict[str, int] = {}
    for example in found.examples:
        kind = grader_of(example.target, example.expects, where=example.id).kind
        kinds[kind] = kinds.get(kind, 0) + 1
    prompt = fill(text, found.examples[0]).text
    counts = {
        "examples": len(found.examples),
        "with_context": sum(bool(example.context) for example in found.examples),
        "with_gold": sum(example.gold is not None for example in found.examples),
    }
    if as_json:
        print_json({"task": found.name, **counts, "answers": kinds, "template": name, "first_prompt": prompt})
        return
    print_table([("task", *counts, "answers"), (found.name, *map(str, counts.values()), _counted(kinds))])
    tell(f"templates: {', '.join(found.templates)}; the first prompt by {name}:\n\n{prompt}")


def _counted(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


@app.command()
def compare(
    *,
    first: RunArgument,
    second: Annotated[Path, typer.Argument(metavar="DIR", help="Another run of the same task.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two runs of one task, example by example.

    The interval is a paired bootstrap's; where it includes 0, no difference is shown.

    Exit codes: 0 compared, 2 bad usage or input, 3 a run is damaged.
    """
    from heed.evaluation.runs import compare_runs, read_run

    comparison = compare_runs(read_run(first), read_run(second))
    if as_json:
        print_json(comparison.record())
        return
    print_table(comparison.table())
    print(f"\n{comparison.verdict}")
    if comparison.left_out:
        tell(f"note: {comparison.left_out} examples are in one run only and were left out")


@app.command()
def report(
    *,
    folder: RunArgument,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Where to write; else report.html in the folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run, finished or not, as one HTML page.

    Exit codes: 0 written, 2 bad usage or input, 3 the run is damaged or the page cannot be written.
    """
    from heed.cli.run_start import table
    from heed.evaluation.runs import read_run, write_page

    run = read_run(folder)
    written = write_page(run, page)
    if as_json:
        print_json({"page": str(written), "finished": run.finished, **run.summary.record()})
        return
    print_table(table(run.summary))
    tell(f"written to {written}")
