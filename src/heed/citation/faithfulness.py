"""Is an answer less probable without the facts named for it, and more so than without facts drawn by chance."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heed.citation.ablation import Ablations
from heed.citation.question import Question
from heed.errors import InputError
from heed.measure.interval import Interval, bootstrap_interval
from heed.model import Model

USUAL = 5
"""Facts taken out unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Log-probability in nats that an answer loses without facts; below 0 where it gains."""

    k: int
    """How many facts are taken out."""
    drop: float
    """Lost without the k best facts."""
    random_drop: float
    """Lost without k facts drawn by chance from all of them, mean over the draws."""
    random_interval: Interval
    """Bootstrap interval of that mean."""
    draws: int
    logprob: float
    """Of the answer on the whole context, at most 0."""
    tokens: int
    """Of the answer."""
    passes: int
    """Forward passes it cost."""

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    def summary(self) -> str:
        """In one line."""
        low, high = self.random_interval.low, self.random_interval.high
        return (
            f"{self.drop:.2f} nats without the best {self.k}; "
            f"{self.random_drop:.2f} ({low:.2f} to {high:.2f}) without {self.k} drawn by chance"
        )


def check_scorable(question: Question, *, generate: bool = False) -> None:
    """Refuse what cannot be scored without facts, before anything is read.

    Raises
    ------
    InputError
        If there is no answer and none is to be generated, or fewer than two facts.
    """
    if question.response is None and not generate:
        raise InputError("expected an answer to score, found none: give the response, or generate one")
    if len(question.units) < 2:
        raise InputError(
            "expected two facts or more, found one: the answer is scored without the best, and one must stay"
        )


def faithfulness(
    model: Model,
    question: Question,
    ranking: Sequence[int],
    *,
    k: int | None = None,
    draws: int = 10,
    seed: int = 0,
) -> Faithfulness:
    """Take the k best facts out of the context, and k drawn by chance; see `compare_drops`.

    Raises
    ------
    InputError
        As `compare_drops`, or if there is no answer.
    TooLongError
        If the whole context does not fit the model's window.
    """
    return compare_drops(Ablations(model, question), ranking, k=k, draws=draws, seed=seed)


def compare_drops(
    answer: Ablations, ranking: Sequence[int], *, k: int | None = None, draws: int = 10, seed: int = 0
) -> Faithfulness:
    """The same on ablations that several rankings and k share: what is drawn is the same for all.

    Parameters
    ----------
    ranking
        Facts by number, best first; at least k of them.
    k
        By default five, or all facts but one if there are fewer.
    draws
        Random sets of k facts, drawn without replacement within a set.

    Raises
    ------
    InputError
        If k is not between 1 and the number of facts less one, the ranking is shorter or names a fact twice, or there
        are fewer than two draws.
    """
    count, before = len(answer.question.units), answer.passes
    k = min(USUAL, count - 1) if k is None else k
    if not 1 <= k < count:
        raise InputError(f"expected k from 1 to {count - 1}, one less than the facts, found {k}: something must stay")
    best = set(ranking[:k])
    if len(best) < k or draws < 2:
        raise InputError(f"expected {k} different facts and two draws or more, found {len(best)} and {draws}")
    rng = np.random.default_rng(seed)
    drop = answer.drop(best)
    chance = [answer.drop(rng.choice(count, k, replace=False).tolist()) for _ in range(draws)]
    return Faithfulness(
        k=k,
        drop=drop,
        random_drop=float(np.mean(chance)),
        random_interval=bootstrap_interval(lambda drops: float(np.mean(drops)), chance),
        draws=draws,
        logprob=float(answer.tokens().sum()),
        tokens=len(answer.tokens()),
        passes=answer.passes - before,
    )
