"""What `heed.cite` gives: facts with their places, for the whole answer and for each of its sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from heed.citation.faithfulness import Faithfulness
from heed.text.evidence import Evidence, Passage, Scene, WeightedSpan
from heed.text.span import CharSpan


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: its number among the units, its place in the caller's context, and how much it matters.

    ``frequency`` is the share of answer tokens that look at it, in [0, 1]; None where the method does not tell.
    """

    index: int
    span: CharSpan
    text: str
    score: float
    frequency: float | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the answer and the facts it rests on: numbers of units, best first."""

    span: CharSpan
    text: str
    facts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Citation:
    """Which facts of a context matter for a question or an answer, best first.

    ``scores`` belong to ``units`` (higher is better, comparable within one citation only), ``ranking`` numbers all
    units best first, ``facts`` are the best of them.
    """

    question: str
    context: str
    response: str | None
    rows: str
    """``question`` or ``response``: whose tokens it was looked from."""
    method: str
    model: str
    units: tuple[CharSpan, ...]
    scores: Float[np.ndarray, " U"]
    ranking: tuple[int, ...]
    facts: tuple[Fact, ...]
    sentences: tuple[Sentence, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the method went by, defaults and the profile's digest included; of a fusion by the name of each part."""
    context_mass: float | None = None
    """The share of attention that reached the context at all, in [0, 1]; None for methods without attention."""
    windows: int = 1
    """In how many stretches the context was read; above 1 where it did not fit the model's window."""
    passes: int = 0
    seconds: float = 0.0
    generated: bool = False
    """Whether the response is the model's own."""
    faithfulness: Faithfulness | None = None
    notes: tuple[str, ...] = ()
    """What must be known to read it: that the answer is not the model's, that the context was read in stretches."""

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        facts = [
            {
                "index": fact.index,
                "start": fact.span.start,
                "end": fact.span.end,
                "text": fact.text,
                "score": fact.score,
                "frequency": fact.frequency,
            }
            for fact in self.facts
        ]
        sentences = [
            {"start": one.span.start, "end": one.span.end, "text": one.text, "facts": list(one.facts)}
            for one in self.sentences
        ]
        return {
            "question": self.question,
            "response": self.response,
            "generated": self.generated,
            "facts": facts,
            "sentences": sentences,
            "ranking": list(self.ranking),
            "scores": [float(score) for score in self.scores],
            "rows": self.rows,
            "method": self.method,
            "settings": dict(self.settings),
            "model": self.model,
            "context_mass": self.context_mass,
            "windows": self.windows,
            "passes": self.passes,
            "faithfulness": None if self.faithfulness is None else self.faithfulness.record(),
            "notes": list(self.notes),
            "seconds": self.seconds,
        }

    def scene(self) -> Scene:
        """As a picture: the context with its facts marked, the better the stronger."""
        shares = 1.0 / np.arange(1, len(self.facts) + 1)
        marks = tuple(
            WeightedSpan(fact.span, float(share)) for fact, share in zip(self.facts, shares / shares.sum(), strict=True)
        )
        passages = [
            Passage("question", Evidence(self.question)),
            Passage("context", Evidence(self.context, marks), "facts, the better the stronger"),
        ]
        if self.response is not None:
            passages.append(Passage("response", Evidence(self.response)))
        best = self.facts[0].text if self.facts else ""
        return Scene(
            title="Citation",
            headline=f"rests most on: {best}",
            tone="neutral",
            passages=tuple(passages),
            facts=tuple(self._facts()),
            notes=self.notes,
        )

    def _facts(self) -> list[tuple[str, str]]:
        found = [("method", self.method), ("looked from", self.rows), ("model", self.model)]
        if self.context_mass is not None:
            found.append(("attention on the context", f"{self.context_mass:.1%}"))
        if self.faithfulness is not None:
            found.append(("log-probability lost without them", self.faithfulness.summary()))
        return [*found, ("seconds", f"{self.seconds:.2f}")]
