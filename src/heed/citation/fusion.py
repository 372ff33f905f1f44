"""Several methods as one: reciprocal rank fusion."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from heed.citation.question import Question
from heed.citation.scores import Method, Scores
from heed.errors import InputError


def fusion_method(methods: Sequence[Method], *, k: float = 60.0) -> Method:
    """Reciprocal rank fusion: a fact scores the sum of ``1 / (k + rank)`` over the methods, ranks from 1.

    Facts that a method scores alike share the mean of their ranks, so that no order among them is made up. Sentences
    of the answer are fused where all methods have them; frequency and context mass are those of the first method that
    has them. Cormack, Clarke and Büttcher, SIGIR 2009, k = 60.

    Raises
    ------
    InputError
        If there are fewer than two methods, or ``k`` is negative.
    """
    if len(methods) < 2 or k < 0:
        raise InputError(f"expected two methods or more and k >= 0, found {len(methods)} and k={k}")

    def score(question: Question) -> Scores:
        return fuse([method(question) for method in methods], k=k)

    return score


def fuse(scores: Sequence[Scores], *, k: float = 60.0) -> Scores:
    """Fuse what methods gave for the same question; see `fusion_method`."""
    sentences = [one.sentences for one in scores if one.sentences is not None]
    everywhere = len(sentences) == len(scores)
    return Scores(
        values=_fused([one.values for one in scores], k),
        passes=sum(one.passes for one in scores),
        frequency=next((one.frequency for one in scores if one.frequency is not None), None),
        sentences=np.stack([_fused(rows, k) for rows in zip(*sentences, strict=True)]) if everywhere else None,
        context_mass=next((one.context_mass for one in scores if one.context_mass is not None), None),
        windows=max(one.windows for one in scores),
    )


def _fused(rows: Sequence[Float[np.ndarray, " U"]], k: float) -> Float[np.ndarray, " U"]:
    return np.asarray(np.sum([1 / (k + _ranks(row)) for row in rows], axis=0))


def _ranks(values: Float[np.ndarray, " U"]) -> Float[np.ndarray, " U"]:
    """Ranks from 1, highest first; equal values share the mean of theirs."""
    ordered = np.sort(-values)
    return (np.searchsorted(ordered, -values, "left") + np.searchsorted(ordered, -values, "right") + 1) / 2
