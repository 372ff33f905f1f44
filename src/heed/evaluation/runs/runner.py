"""One example after the other: a template and someone who answers come in, graded samples go out.

What is wrong with one example is an InputError, which becomes its sample; what would meet every example ends the run.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from heed import __version__
from heed.errors import (
    HeedError,
    InputError,
    JobError,
    UpstreamDeniedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from heed.evaluation.runs.artefacts import folder_name, write_artefacts
from heed.evaluation.runs.example import Example, Prompt, fill
from heed.evaluation.runs.graders import grader_of
from heed.evaluation.runs.place import Place
from heed.evaluation.runs.reader import Analysis, Reader
from heed.evaluation.runs.samples import SCHEMA
from heed.jobs import BadLine, Item, Record
from heed.upstream import Answer, Upstream
from heed.upstream.answer import check_settings

_ENDING = (JobError, UpstreamUnreachableError, UpstreamDeniedError)
"""What would meet every other example, too: the run ends, and the same call goes on with this example later."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """How each example is asked.

    Raises
    ------
    InputError
        If ``max_new_tokens`` is below 1, or ``temperature`` is negative or not finite.
    """

    template: str | None = None
    """A template's name, or a file; None: the task's default."""
    max_new_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    """Example i is sampled with ``seed + i``: its answer does not depend on where a run began."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else the answers depend on, such as the fingerprint of the model that answers."""

    def __post_init__(self) -> None:
        check_settings(self.max_new_tokens, self.temperature)


class _NoAnswerError(InputError):
    """An example got no answer."""

    def __init__(self, example: Example, error: Exception, seconds: float) -> None:
        super().__init__(f"example {example.index} ({example.id}) got no answer: {_named(error)}")
        self.status = "timeout" if isinstance(error, UpstreamTimeoutError) else "error"
        self.seconds = round(seconds, 4)


@dataclass(frozen=True, slots=True)
class Runner:
    """Answers, grades and reads one example after the other."""

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
        return sample if self.reader is None else self._with_attention(sample, prompt, example)

    def read_again(self, item: Item, sample: Record) -> Record:
        """The sample of an answered example with its attention read anew."""
        example = Example.of(item.record)
        return self._with_attention(sample, fill(self.template, example), example)

    def _with_attention(self, sample: Record, prompt: Prompt, example: Example) -> Record:
        assert self.reader is not None
        started = perf_counter()
        analysis = self.reader.read(prompt, example, sample["response"])
        attention = self._keep(example, sample["response"], analysis)
        seconds = {**sample["seconds"], "attention": round(perf_counter() - started, 4)}
        return {**sample, "attention": attention, "seconds": seconds}

    def _answer(self, prompt: str, example: Example) -> Answer:
        asking, started = self.asking, perf_counter()
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
            raise _NoAnswerError(example, error, perf_counter() - started) from error

    def failed(self, bad: BadLine) -> Record:
        """The sample of an example that got no answer."""
        assert bad.record is not None  # the lines are our own
        error = bad.error
        status, seconds = (error.status, error.seconds) if isinstance(error, _NoAnswerError) else ("error", 0.0)
        return {
            **_about(Example.of(bad.record)),
            "status": status,
            "prompt": None,
            "response": None,
            "grade": None,
            "found": None,
            "error": bad.reason,
            "model": self.upstream.name,
            "finish": None,
            "usage": None,
            "attention": None,
            "seconds": {"answer": seconds, "attention": 0.0},
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
    """The fields of a sample that come from its example, and the version of all."""
    record = example.record()
    about = {name: record[name] for name in ("index", "id", "context", "question", "target", "expects", "gold")}
    return {"schema": SCHEMA, **about}


def _named(error: BaseException) -> str:
    return str(error) if isinstance(error, HeedError) else f"{type(error).__name__}: {json.dumps(str(error))[1:-1]}"
