"""What the samples of a run amount to: counts, accuracy with its interval, and how well facts were found."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heed.jobs.lines import Record
from heed.measure import Interval, recall_at, wilson_interval

CUTS = (1, 3, 5)
"""Of recall."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run, and what follows from them. Shares lie in [0, 1] and are None where nothing was counted."""

    examples: int
    correct: int
    wrong: int
    unparsed: int
    """Answered, but no answer of the kind that is graded was found in the text."""
    timeouts: int
    """Cut off by the time limit; counted apart from ``unparsed``."""
    errors: int
    """No answer came."""
    accuracy: float | None
    """Correct of all examples."""
    interval: Interval | None
    """Wilson's, at 95 %."""
    accuracy_parsed: float | None
    """Correct of those whose answer could be parsed."""
    attention: dict[str, int]
    """How the readings ended, by status; empty without attention."""
    recall: dict[str, float] | None
    """Of gold facts among the first 1, 3, 5 that were cited, mean over the examples that name them."""
    recall_by_grade: dict[str, dict[str, float]]
    context_mass: float | None
    """Share of the answers' attention that reached the context, mean."""
    answer_seconds: float
    attention_seconds: float

    @property
    def overhead(self) -> float | None:
        """Seconds of attention per second of answering."""
        return self.attention_seconds / self.answer_seconds if self.attention and self.answer_seconds else None

    @property
    def line(self) -> str:
        """In one line, for logs."""
        if self.interval is None or self.accuracy is None:
            return "no examples"
        return (
            f"{self.correct} of {self.examples} correct ({self.accuracy:.1%}, 95 % interval "
            f"{self.interval.low:.1%} to {self.interval.high:.1%}), {self.wrong} wrong, {self.unparsed} unparsed, "
            f"{self.timeouts} timed out, {self.errors} without an answer"
        )

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "attention_overhead": self.overhead}


def summarise(samples: Iterable[Record]) -> Summary:
    """Count."""
    found = list(samples)
    timeouts = sum(sample["status"] == "timeout" for sample in found)
    grades = Counter(sample["grade"] for sample in found if sample["status"] == "ok")
    correct, parsed = grades["correct"], grades["correct"] + grades["wrong"]
    read = [sample["attention"] for sample in found if sample["attention"] is not None]
    masses = [one["context_mass"] for one in read if one["context_mass"] is not None]
    return Summary(
        examples=len(found),
        correct=correct,
        wrong=grades["wrong"],
        unparsed=grades["unparsed"],
        timeouts=timeouts,
        errors=sum(sample["status"] == "error" for sample in found),
        accuracy=correct / len(found) if found else None,
        interval=wilson_interval(correct, len(found)) if found else None,
        accuracy_parsed=correct / parsed if parsed else None,
        attention=dict(Counter(one["status"] for one in read)),
        recall=_recall(found),
        recall_by_grade={
            grade: shares
            for grade in ("correct", "wrong", "unparsed")
            if (shares := _recall([one for one in found if one["grade"] == grade])) is not None
        },
        context_mass=float(np.mean(masses)) if masses else None,
        answer_seconds=round(sum(sample["seconds"]["answer"] for sample in found), 3),
        attention_seconds=round(sum(sample["seconds"]["attention"] for sample in found), 3),
    )


def recall(sample: Record, cut: int) -> float | None:
    """The share of an example's gold facts among the first ``cut`` cited; None where it names none or none is cited."""
    attention = sample["attention"]
    if not sample["gold"] or attention is None or not attention["ranking"]:
        return None
    return recall_at(attention["ranking"], sample["gold"], cut)


def _recall(samples: list[Record]) -> dict[str, float] | None:
    known = [sample for sample in samples if recall(sample, 1) is not None]
    if not known:
        return None
    return {f"@{cut}": float(np.mean([recall(sample, cut) for sample in known])) for cut in CUTS}
