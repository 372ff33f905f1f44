"""What a method of citation makes of labelled questions: rankings come out, and from them measures row by row.

It does not know how a method ranks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from heed.citation import Method
from heed.citation.data import LabelledQuestion
from heed.citation.question import Question
from heed.citation.scores import ranked
from heed.errors import InputError
from heed.evaluation.memory import peak_memory
from heed.measure import ndcg, recall_at

RECALLS = (1, 3, 5)
MEASURES = (*(f"recall@{k}" for k in RECALLS), "all@5", "nDCG@10")
"""All are shares in [0, 1]. ``all@5``: whether one set of facts that suffices stands whole among the first five."""

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class Retrieved:
    """The rankings of N questions; an empty one where the method refused the question."""

    rankings: tuple[tuple[int, ...], ...]
    """Facts of each question, best first."""
    seconds: float
    """Of a question, on the mean."""
    passes: float
    """Forward passes of a question, on the mean."""
    peak_bytes: int | None
    """Memory beyond what was held before the first question; None where it is not known."""
    refused: int = 0
    """Questions that the method could not be asked."""
    reason: str = ""
    """Why it refused the first of them."""
    windows: int = 1
    """Most stretches that a context was read in."""


def retrieve(method: Method, questions: Sequence[Question], tick: Tick) -> Retrieved:
    """Rank the facts of each question; ``tick`` is called after each.

    What cannot be asked (`heed.errors.InputError`, such as ablating an answer that is not there) counts as nothing
    found. Any other error ends the evaluation.
    """
    rankings: list[tuple[int, ...]] = []
    passes, windows, reasons = 0, 1, []
    started = perf_counter()
    with peak_memory() as peak:
        for question in questions:
            try:
                scores = method(question)
            except InputError as error:
                rankings.append(())
                reasons.append(str(error))
            else:
                rankings.append(ranked(scores.values))
                passes, windows = passes + scores.passes, max(windows, scores.windows)
            tick()
    count = max(1, len(questions) - len(reasons))
    return Retrieved(
        tuple(rankings),
        seconds=(perf_counter() - started) / count,
        passes=passes / count,
        peak_bytes=peak.bytes,
        refused=len(reasons),
        reason=reasons[0] if reasons else "",
        windows=windows,
    )


def measured(rankings: Sequence[Sequence[int]], rows: Sequence[LabelledQuestion]) -> dict[str, np.ndarray]:
    """Each of `MEASURES` for each row, ``[N]``; every row must have gold facts."""
    found = {name: np.empty(len(rows)) for name in MEASURES}
    for at, (ranking, row) in enumerate(zip(rankings, rows, strict=True)):
        for k in RECALLS:
            found[f"recall@{k}"][at] = recall_at(ranking, row.gold, k)
        found["all@5"][at] = any(one <= set(ranking[:5]) for one in row.gold_sets)
        found["nDCG@10"][at] = ndcg(ranking, row.gold, 10)
    return found


def oracle(rows: Sequence[LabelledQuestion]) -> dict[str, float]:
    """What the best ranking reaches: less than 1 where there are more gold facts than places."""
    best = [tuple(sorted(_first(row))) + tuple(sorted(row.gold - _first(row))) for row in rows]
    return {name: float(values.mean()) for name, values in measured(best, rows).items()}


def _first(row: LabelledQuestion) -> frozenset[int]:
    """The smallest set that suffices: an oracle puts it first."""
    return min(row.gold_sets, key=len, default=frozenset())
