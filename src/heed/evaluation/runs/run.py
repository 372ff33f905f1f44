"""Running a task: examples and someone who answers come in, graded samples with their attention go out.

Every sample is on disk before the next example is asked; after a crash the same call goes on where it stopped. What
goes wrong with one example is part of its sample, and the run goes on.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from heed import __version__
from heed.errors import InputError
from heed.evaluation.runs.artefacts import folder_name
from heed.evaluation.runs.example import Example
from heed.evaluation.runs.place import Place, check_alike, place_of, set_aside
from heed.evaluation.runs.reader import Reader
from heed.evaluation.runs.retry import retry
from heed.evaluation.runs.runner import Asking, Runner
from heed.evaluation.runs.samples import Log, read_samples, write_results
from heed.evaluation.runs.summary import Summary, summarise
from heed.evaluation.runs.task import Task, pick
from heed.jobs import JobReport, Progress, run_job
from heed.jobs.manifest import plain_config
from heed.jobs.output import encode_record
from heed.upstream import Upstream

_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did."""

    place: Place
    summary: Summary
    """Of all samples of the range, those of earlier runs included."""
    resumed: int
    retried: int
    """Samples of earlier runs that were done again."""
    already_finished: bool
    backup: Path | None
    """With ``force``: the old samples. Their attention lies beside them, in the folder of that name and ``.top_k``."""
    seconds: float


def start(
    task: Task,
    upstream: Upstream,
    out: Path,
    *,
    asking: Asking | None = None,
    reader: Reader | None = None,
    lo: int | None = None,
    hi: int | None = None,
    limit: int | None = None,
    ids: Iterable[str] = (),
    resume: bool = True,
    force: bool = False,
    retry_errors: bool = False,
    fail_on_error: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> RunReport:
    """Ask every chosen example, grade its answer and, with a reader, keep the attention beside it.

    Parameters
    ----------
    out
        The run lies in ``out/<model>/<task>/``.
    lo, hi, limit, ids
        Which examples: from ``lo`` up to, but not with, ``hi``; at most ``limit``; or some by their ids.
    resume, force
        As in `heed.jobs.run_job`; with ``force`` the old artefacts are set aside together with the old samples.
    retry_errors
        First do again what failed in earlier runs: ask where no answer came, read where attention could not be read.
    fail_on_error
        End at the first example that gets no answer, instead of noting it and going on.

    Raises
    ------
    InputError
        If no example is chosen, there is no such template, or ``retry_errors`` must not go on with a run.
    JobError
        If the place belongs to a run of other settings, is in use or cannot be written; at an example that gets no
        answer with ``fail_on_error``.
    UpstreamUnreachableError, UpstreamDeniedError
        If the server cannot be reached, or refuses everything; the same call goes on with the example in flight.
    """
    started = perf_counter()
    if retry_errors and (force or not resume):
        raise InputError("expected retry_errors with a run to go on with, found force or no resume: leave one out")
    asking = asking or Asking()
    part, examples = pick(task, lo=lo, hi=hi, limit=limit, ids=ids)
    template_name, template = task.template(asking.template)
    place = place_of(out, upstream.name, task.name, part)
    config = plain_config(_config(task, upstream, asking, reader, (template_name, template)))
    check_alike(place, config)
    runner = Runner(upstream, asking, template, reader, place, config)
    source = [encode_record(example.record()) for example in examples]
    retried = retry(runner, source, stop_on_error=fail_on_error, progress=progress) if retry_errors else 0
    report, summary = _run(
        runner, examples, source, progress, {"resume": resume, "force": force, "stop_on_error": fail_on_error}
    )
    return _report(place, summary, report, retried, perf_counter() - started)


def _run(
    runner: Runner,
    examples: Iterable[Example],
    source: list[bytes],
    progress: Callable[[Progress], None] | None,
    how: Mapping[str, bool],
) -> tuple[JobReport, Summary]:
    """Run the job to its end, with a log on the way and the results behind it."""
    place, config = runner.place, runner.config
    prepare = _setting_aside(place, [folder_name(example.index) for example in examples])
    with Log(place, config) as log:
        report = run_job(
            source,
            place.samples,
            runner.work,
            config=config,
            on_bad_line=runner.failed,
            chunk=1,
            progress=_following(log, prepare, progress),
            **how,
        )
        summary = summarise(read_samples(place.samples))
        log.end(summary)
    write_results(place, config, summary)
    return report, summary


def _setting_aside(place: Place, folders: list[str]) -> Callable[[], None]:
    """What moves the old artefacts to the backup of their samples, once the job holds the lock and has made one."""
    known = place.backups()

    def move() -> None:
        for backup in place.backups() - known:
            set_aside(place, backup, folders)
            known.add(backup)

    return move


def _following(
    log: Log, prepare: Callable[[], None], progress: Callable[[Progress], None] | None
) -> Callable[[Progress], None]:
    """Before the first example, prepare; then write what is on disk to the log, and tell the caller."""

    def tell(done: Progress) -> None:
        prepare()
        log.follow()
        if progress is not None:
            progress(done)

    return tell


def _report(place: Place, summary: Summary, report: JobReport, retried: int, seconds: float) -> RunReport:
    return RunReport(place, summary, report.resumed, retried, report.already_finished, report.backup, seconds)


def _config(
    task: Task, upstream: Upstream, asking: Asking, reader: Reader | None, template: tuple[str, str]
) -> dict[str, Any]:
    """What the samples depend on. All ranges share it, so it names the whole task, not only the examples chosen."""
    records = b"".join(encode_record(example.record()) for example in task.examples)
    return {
        "job": "heed run",
        "heed": __version__,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "task": task.name,
        "task_sha256": hashlib.sha256(records).hexdigest(),
        "template": {"name": template[0], "text": template[1]},
        "answers": {
            "model": upstream.name,
            "max_new_tokens": asking.max_new_tokens,
            "temperature": asking.temperature,
            "seed": asking.seed,
            **asking.details,
        },
        "attention": None if reader is None else reader.settings,
    }
