"""Running a task: examples and someone who answers come in, graded samples with their attention go out.

Every sample is on disk before the next example is asked; after a crash the same call goes on where it stopped. What
goes wrong with one example is part of its sample, and the run goes on.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from heed import __version__
from heed.errors import HeedError, InputError, JobError, UpstreamUnreachableError
from heed.evaluation.runs.artefacts import folder_name, write_artefacts
from heed.evaluation.runs.example import Example, fill
from heed.evaluation.runs.graders import grader_of
from heed.evaluation.runs.place import Place, check_alike, place_of
from heed.evaluation.runs.reader import Analysis, Reader
from heed.evaluation.runs.samples import Log, read_samples, write_results
from heed.evaluation.runs.summary import Summary, summarise
from heed.evaluation.runs.task import Task, pick
from heed.jobs import BadLine, Item, JobReport, Progress, Record, run_job
from heed.jobs.manifest import plain_config
from heed.jobs.output import encode_record
from heed.upstream import Answer, Upstream

_ENDING = (JobError, UpstreamUnreachableError)
"""What would meet every other example, too: the run ends, and the same call goes on with this example later."""
_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """How each example is asked."""

    template: str | None = None
    """A template's name, or a file; None: the task's default."""
    max_new_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    """Example i is sampled with ``seed + i``: its answer does not depend on where a run began."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else the answers depend on, such as the fingerprint of the model that answers."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did."""

    place: Place
    summary: Summary
    """Of all samples of the range, those of earlier runs included."""
    resumed: int
    already_finished: bool
    backup: Path | None
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
        As in `heed.jobs.run_job`.
    fail_on_error
        End at the first example that gets no answer, instead of noting it and going on.

    Raises
    ------
    InputError
        If no example is chosen or there is no such template.
    JobError
        If the place belongs to a run of other settings, is in use or cannot be written; at an example that gets no
        answer with ``fail_on_error``.
    UpstreamUnreachableError
        If the server cannot be reached; the same call goes on with the example in flight.
    """
    started = perf_counter()
    asking = asking or Asking()
    part, examples = pick(task, lo=lo, hi=hi, limit=limit, ids=ids)
    template_name, template = task.template(asking.template)
    place = place_of(out, upstream.name, task.name, part)
    config = plain_config(_config(task, upstream, asking, reader, (template_name, template)))
    check_alike(place, config)
    runner = _Runner(upstream, asking, template, reader, place, config)
    how = {"resume": resume, "force": force, "stop_on_error": fail_on_error}
    with Log(place, config) as log:
        report = run_job(
            (encode_record(example.record()) for example in examples),
            place.samples,
            runner.work,
            config=config,
            on_bad_line=runner.failed,
            chunk=1,
            progress=_following(log, progress),
            **how,
        )
        summary = summarise(read_samples(place.samples))
        log.end(summary)
    write_results(place, config, summary)
    return _report(place, summary, report, perf_counter() - started)


def _following(log: Log, progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
    """Write what is on disk to the log, then tell the caller."""

    def tell(done: Progress) -> None:
        log.follow()
        if progress is not None:
            progress(done)

    return tell


def _report(place: Place, summary: Summary, report: JobReport, seconds: float) -> RunReport:
    return RunReport(place, summary, report.resumed, report.already_finished, report.backup, seconds)


def _config(
    task: Task, upstream: Upstream, asking: Asking, reader: Reader | None, template: tuple[str, str]
) -> dict[str, Any]:
    """What the samples depend on, beside the examples themselves."""
    return {
        "job": "heed run",
        "heed": __version__,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "task": task.name,
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


@dataclass(frozen=True, slots=True)
class _Runner:
    upstream: Upstream
    asking: Asking
    template: str
    reader: Reader | None
    place: Place
    config: Record

    def work(self, items: list[Item]) -> list[Record]:
        """Answer a chunk; whatever is wrong with an example is an InputError, which `failed` turns into a sample."""
        return [self._sample(Example.of(item.record)) for item in items]

    def _sample(self, example: Example) -> Record:
        started = perf_counter()
        prompt = fill(self.template, example)
        answer = self._answer(prompt.text, example)
        asked = perf_counter() - started
        timed_out = answer.finish == "timeout"
        grade = grader_of(example.target, example.expects, where=example.id)(answer.text)
        sample = {
            **_about(example),
            "status": "timeout" if timed_out else "ok",
            "prompt": prompt.text,
            "response": answer.text,
            "grade": "unparsed" if timed_out else grade.status,
            "found": grade.found,
            "error": "the time was up before the answer ended" if timed_out else None,
            "model": answer.model,
            "finish": answer.finish,
            "usage": None if answer.usage is None else asdict(answer.usage),
            "attention": None,
            "seconds": {"answer": round(asked, 4), "attention": 0.0},
        }
        if self.reader is None:
            return sample
        reading = perf_counter()
        analysis = self.reader.read(prompt, example, answer.text)
        attention = self._keep(example, answer.text, analysis)
        return {
            **sample,
            "attention": attention,
            "seconds": {"answer": round(asked, 4), "attention": round(perf_counter() - reading, 4)},
        }

    def _answer(self, prompt: str, example: Example) -> Answer:
        asking = self.asking
        try:
            return self.upstream.answer(
                prompt,
                max_new_tokens=asking.max_new_tokens,
                temperature=asking.temperature,
                seed=asking.seed + example.index if asking.temperature else None,
            )
        except _ENDING:
            raise
        except Exception as error:
            if not isinstance(error, HeedError):
                _LOG.exception("an example got no answer")
            raise InputError(f"example {example.index} ({example.id}) got no answer: {_named(error)}") from error

    def failed(self, bad: BadLine) -> Record:
        """The sample of an example that got no answer."""
        assert bad.record is not None  # the lines are our own
        return {
            **_about(Example.of(bad.record)),
            "status": "error",
            "prompt": None,
            "response": None,
            "grade": None,
            "found": None,
            "error": bad.reason,
            "model": self.upstream.name,
            "finish": None,
            "usage": None,
            "attention": None,
            "seconds": {"answer": 0.0, "attention": 0.0},
        }

    def _keep(self, example: Example, response: str, analysis: Analysis) -> Record:
        """Write the artefacts of an example and say in its sample what was found and where it lies."""
        assert self.reader is not None
        folder = self.place.attention / folder_name(example.index)
        about = {
            "task": self.place.task,
            "heed": __version__,
            "answered_by": self.config["answers"],
            "read_by": self.config["attention"],
        }
        size = write_artefacts(folder, example, response, analysis, about)
        cited = None if analysis.citation is None else analysis.citation.record()
        return {
            "status": analysis.status,
            "reason": analysis.reason,
            "read_by": self.reader.model.name,
            "folder": f"{self.place.attention.name}/{folder.name}",
            "bytes": size,
            "facts": [] if cited is None else cited["facts"],
            "units": [] if analysis.citation is None else [[one.start, one.end] for one in analysis.citation.units],
            "ranking": [] if cited is None else cited["ranking"],
            "context_mass": None if cited is None else cited["context_mass"],
        }


def _about(example: Example) -> dict[str, Any]:
    """The fields of a sample that come from its example."""
    record = example.record()
    return {name: record[name] for name in ("index", "id", "context", "question", "target", "expects", "gold")}


def _named(error: BaseException) -> str:
    return str(error) if isinstance(error, HeedError) else f"{type(error).__name__}: {json.dumps(str(error))[1:-1]}"
