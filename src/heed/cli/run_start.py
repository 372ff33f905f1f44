"""`heed run start`: a task comes in, graded samples with their attention go out; resumable."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.cli.grouped import grouped
from heed.cli.options import DeviceOption, DtypeOption, JsonOption, ModelOption, load_model
from heed.cli.output import print_json, print_table, progress_bar, tell

if TYPE_CHECKING:
    from heed.evaluation.runs import Asking, Reader, RunReport, Summary, Task
    from heed.model import Model
    from heed.probe import PromptCache
    from heed.upstream import Upstream

DONE, INCOMPLETE = 0, 3

FieldOption = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME=THEIRS", help="The file's own name of a field, as in target=answer."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Options: which examples."""

    lo: Annotated[int | None, typer.Option("--lo", min=0, metavar="A", help="First example, from 0.")] = None
    hi: Annotated[int | None, typer.Option("--hi", min=1, metavar="B", help="One past the last example.")] = None
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Most examples.")] = None
    ids: Annotated[str | None, typer.Option("--ids", metavar="ID,ID", help="Some examples, by id or number.")] = None

    @property
    def named(self) -> list[str]:
        """The ids one by one."""
        return [one.strip() for one in (self.ids or "").split(",") if one.strip()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """Options: who answers, and how."""

    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="An OpenAI-compatible server answers.")
    ] = None
    answer_model: Annotated[
        str | None, typer.Option("--answer-model", metavar="NAME", help="Its model; --model then only reads.")
    ] = None
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "--max_new_tokens", min=1, help="Longest answer, in tokens.")
    ] = 128
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draws, with each example's number added.")] = 0
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0.001, metavar="SECONDS", help="Longest time for one answer; a server is then asked once."
        ),
    ] = None


@grouped
def start(
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task file (.json, .jsonl, .csv), or a shipped task.")],
    chosen: Chosen,
    attention: Annotated[
        bool,
        typer.Option("--attention", "--enable_attention_analysis", help="Keep attention and facts beside each answer."),
    ] = False,
    method: Annotated[str, typer.Option("--method", help="How facts are ranked; see `heed cite`.")] = "learned",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of all runs.")] = Path("runs"),
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME|FILE", help="Prompt template; else the task's first.")
    ] = None,
    field: FieldOption = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    answering: Answering,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Go on with a run that was broken off.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Start anew; old samples and their attention are kept as a backup.")
    ] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="First do again what got no answer, or whose attention failed.")
    ] = False,
    fail_on_error: Annotated[
        bool, typer.Option("--fail-on-error", "--fail_on_error", help="End at the first example without an answer.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a task. Run the same command again to go on where it stopped.

    Writes OUT/<model>/<task>/: samples, log, results, and with --attention one folder for each example (docs/runs.md).

    Exit codes: 0 every example has an answer, right or wrong; 2 bad usage or input; 3 could not run, or some examples
    have none.
    """
    from heed.evaluation.runs import load_task

    found = load_task(task, fields=fields_of(field))
    _check(found, answering, template, again=retry_errors, anew=force or not resume)
    needed = attention or answering.answer_model is None
    loaded = load_model(model, dtype=dtype, device=device) if needed else None
    report = _run(
        found,
        loaded,
        answering,
        method=method if attention else None,
        template=template,
        out=out,
        chosen=chosen,
        resume=resume,
        force=force,
        retry_errors=retry_errors,
        fail_on_error=fail_on_error,
    )
    _show(report, as_json=as_json)
    raise typer.Exit(INCOMPLETE if report.summary.errors or report.summary.timeouts else DONE)


def _check(found: "Task", answering: Answering, template: str | None, *, again: bool, anew: bool) -> None:
    """Refuse what cannot be had before a model is loaded."""
    from heed.upstream.answer import check_settings

    check_settings(answering.max_new_tokens, answering.temperature)
    if again and anew:
        raise typer.BadParameter("expected a run to go on with", param_hint="--retry-errors")
    if answering.answer_model is None and answering.base_url is not None:
        raise typer.BadParameter("expected --answer-model beside it, found none", param_hint="--base-url")
    found.template(template)


def _run(
    found: "Task",
    loaded: "Model | None",
    answering: Answering,
    *,
    method: str | None,
    template: str | None,
    chosen: Chosen,
    **how: Any,
) -> "RunReport":
    """Ask with a bar; a local model that reads its own answers shares what is alike."""
    from heed.evaluation.runs import start as start_run
    from heed.probe import PromptCache

    local = answering.answer_model is None
    prefix = PromptCache() if local and method is not None else None
    upstream, details = _upstream(loaded if local else None, answering, prefix)
    with progress_bar("answering") as bar:
        return start_run(
            found,
            upstream,
            asking=_asking(answering, template, details),
            reader=None if method is None else _reader(loaded, method, prefix),
            progress=lambda progress: bar(progress.done, progress.total),
            lo=chosen.lo,
            hi=chosen.hi,
            limit=chosen.limit,
            ids=chosen.named,
            **how,
        )


def fields_of(words: list[str] | None) -> dict[str, str]:
    """The mapping that options such as ``target=answer`` say.

    Raises
    ------
    typer.BadParameter
        If one is no NAME=THEIRS.
    """
    pairs = [word.partition("=") for word in words or ()]
    wrong = next(("".join(pair) for pair in pairs if not all(pair)), None)
    if wrong is not None:
        raise typer.BadParameter(f"expected NAME=THEIRS, found {wrong!r}", param_hint="--field")
    return {name: theirs for name, _, theirs in pairs}


def _upstream(
    model: "Model | None", answering: Answering, prefix: "PromptCache | None"
) -> "tuple[Upstream, dict[str, Any]]":
    """Who answers, and what the answers depend on beside the settings of `Asking`."""
    from heed.upstream import LocalUpstream, OpenAIUpstream

    timeout = answering.timeout
    if model is not None:
        dtype = str(model.dtype).removeprefix("torch.")
        details = {"kind": "local", "fingerprint": model.fingerprint, "dtype": dtype, "timeout": timeout}
        return LocalUpstream(model, timeout=timeout, prefix=prefix), details
    assert answering.answer_model is not None
    server = OpenAIUpstream(answering.answer_model, base_url=answering.base_url, limit=timeout)
    return server, {"kind": "server", "base_url": server.base_url, "timeout": timeout}


def _asking(answering: Answering, template: str | None, details: dict[str, Any]) -> "Asking":
    from heed.evaluation.runs import Asking

    return Asking(template, answering.max_new_tokens, answering.temperature, answering.seed, details)


def _reader(model: "Model | None", method: str, prefix: "PromptCache | None") -> "Reader":
    from heed.citation.methods import method as method_of
    from heed.evaluation.runs import Reader

    assert model is not None
    method_of(method, model)  # a method that cannot be had is found before the first answer
    return Reader(model, method, prefix=prefix)


def _show(report: "RunReport", *, as_json: bool) -> None:
    from heed.evaluation.runs.place import attention_of

    summary = report.summary
    if as_json:
        backup = None if report.backup is None else str(report.backup)
        print_json(
            {
                "folder": str(report.place.folder),
                "samples": str(report.place.samples),
                **summary.record(),
                "resumed": report.resumed,
                "retried": report.retried,
                "backup": backup,
                "seconds": round(report.seconds, 3),
            }
        )
        return
    print_table(table(summary))
    if report.resumed:
        tell(f"{report.resumed} of the samples were already there")
    if report.retried:
        tell(f"{report.retried} of them were done again")
    if report.backup is not None:
        attention = attention_of(report.backup)
        beside = f", their attention in {attention}" if attention.exists() else ""
        tell(f"the old samples are kept as {report.backup}{beside}")
    tell(f"written to {report.place.folder}; `heed run report {report.place.folder}` makes a page of it")


def table(summary: "Summary") -> list[tuple[str, ...]]:
    """A summary as rows of text, a header first."""
    low_high = "" if summary.interval is None else f"{summary.interval.low:.1%} to {summary.interval.high:.1%}"
    rows: list[tuple[str, ...]] = [
        ("examples", "correct", "wrong", "unparsed", "timed out", "no answer", "accuracy", "95 % interval"),
        (
            *map(str, (summary.examples, summary.correct, summary.wrong)),
            *map(str, (summary.unparsed, summary.timeouts, summary.errors)),
            "" if summary.accuracy is None else f"{summary.accuracy:.1%}",
            low_high,
        ),
    ]
    return rows
