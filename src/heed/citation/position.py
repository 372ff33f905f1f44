"""Rankings that read nothing: by chance, the first facts first, the last facts first. What every method must beat.

They take ``rows`` as every method does; whose tokens are looked from changes nothing.
"""

from hashlib import sha256

import numpy as np

from heed.citation.attention import Rows
from heed.citation.question import Question
from heed.citation.scores import Method, Scores
from heed.errors import InputError


def random_method(*, seed: int = 0, rows: Rows | None = None) -> Method:
    """Uniform scores in [0, 1), drawn anew for each question and context, the same ones at each call.

    Raises
    ------
    InputError
        If the seed is negative.
    """
    del rows
    if seed < 0:
        raise InputError(f"expected a seed of at least 0, found {seed}")

    def score(question: Question) -> Scores:
        digest = sha256("\0".join((question.text, question.context)).encode()).digest()
        rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
        return Scores(rng.random(len(question.units)))

    return score


def lead_method(*, rows: Rows | None = None) -> Method:
    """The first fact is best: a fact scores minus its place."""
    del rows

    def score(question: Question) -> Scores:
        return Scores(-np.arange(len(question.units), dtype=np.float64))

    return score


def recency_method(*, rows: Rows | None = None) -> Method:
    """The last fact, nearest to the question, is best: a fact scores its place."""
    del rows

    def score(question: Question) -> Scores:
        return Scores(np.arange(len(question.units), dtype=np.float64))

    return score
