"""What a model attends to while it answers: prompt and answer come in, a citation and arrays go out.

The model that reads is a local one; it need not be the one that answered. It knows no files.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal

from heed.citation import Citation, Fact, Question, cite
from heed.citation.units import facts_of
from heed.errors import HeedError, TooLongError
from heed.evaluation.runs.example import Example, Prompt
from heed.evaluation.runs.rows import BUDGET, AnswerAttention, read_rows
from heed.model import Model
from heed.probe import PrefixCache
from heed.text.span import CharSpan

Status = Literal["ok", "no_context", "no_answer", "failed"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What was read beside an answer.

    ``status`` is ``ok``; or why there is no citation: the example has no context, the answer no text, or reading
    failed for the ``reason``. Spans of the citation count characters of the example's context.
    """

    status: Status
    reason: str = ""
    citation: Citation | None = None
    rows: AnswerAttention | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads prompt and answer with a local model.

    ``method`` is one of `heed.cite`, ``options`` go to it; ``top`` facts are named; ``budget`` are bytes of each array.
    ``prefix``, if who answers has the same one, holds what the model computed of the prompt when it answered: then only
    the answer's tokens are computed.
    """

    model: Model
    method: str = "learned"
    options: Mapping[str, Any] = field(default_factory=dict)
    top: int = 10
    budget: int = BUDGET
    prefix: PrefixCache | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a reading depends on, as JSON values."""
        return {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "method": self.method,
            "options": dict(self.options),
            "top": self.top,
            "budget": self.budget,
        }

    def read(self, prompt: Prompt, example: Example, response: str) -> Analysis:
        """Read a prompt with its answer; nothing that goes wrong is raised, it is told by the status."""
        started = perf_counter()
        if not prompt.context.strip():
            return Analysis("no_context", "the example has no context")
        if not response.strip():
            return Analysis("no_answer", "the answer has no text")
        try:
            found = self._read(prompt, example, response)
        except Exception as error:  # an analysis that fails must not cost the answer
            if not isinstance(error, HeedError):
                _LOG.exception("an answer's attention could not be read")
            found = Analysis("failed", f"{type(error).__name__}: {error}")
        return replace(found, seconds=perf_counter() - started)

    def _read(self, prompt: Prompt, example: Example, response: str) -> Analysis:
        before = prompt.before if prompt.before.strip() else ""
        units = example.units or facts_of(prompt.context)
        lead = [CharSpan(0, len(before.rstrip()))] if before else []
        own = [*lead, *(span.shift(len(before)) for span in units)]
        asked = Question.of(prompt.after, before + prompt.context, response, own)
        cited = cite(
            self.model,
            asked.context,
            asked.text,
            response,
            rows="response",
            method=self.method,
            units=own,
            top=self.top + len(lead),
            prefix=self.prefix,
            **self.options,
        )
        citation = _without_lead(cited, prompt.context, units, self.top) if lead else cited
        try:
            rows = read_rows(self.model, asked, skip=len(before), budget=self.budget, prefix=self.prefix)
        except TooLongError as error:
            return Analysis("ok", f"read in stretches, so there are no arrays: {error}", citation)
        return Analysis("ok", "", citation, rows)


def _without_lead(cited: Citation, context: str, units: tuple[CharSpan, ...], top: int) -> Citation:
    """The citation without what the template writes before the context, which was its first unit."""
    facts = tuple(
        Fact(fact.index - 1, units[fact.index - 1], fact.text, fact.score, fact.frequency)
        for fact in cited.facts
        if fact.index
    )
    sentences = (replace(one, facts=tuple(index - 1 for index in one.facts if index)) for one in cited.sentences)
    return replace(
        cited,
        context=context,
        units=units,
        scores=cited.scores[1:],
        ranking=tuple(index - 1 for index in cited.ranking if index),
        facts=facts[:top],
        sentences=tuple(sentences),
    )
