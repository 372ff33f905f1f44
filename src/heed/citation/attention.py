"""Rankings by attention masses alone: all heads of some layers, chosen heads, or held against an empty question."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from heed.citation.question import Question
from heed.citation.reading import Heard, hear, hear_all
from heed.citation.scores import Method, Scores
from heed.errors import InputError
from heed.model import Model

Rows = Literal["question", "response"]
NO_QUESTION = "N/A"
"""The question that asks nothing: Chen et al., In-Context Re-ranking, arXiv 2410.02642."""


def looks_from(question: Question, rows: Rows | None) -> bool:
    """Whether to look from the answer: as told, else wherever there is one.

    Raises
    ------
    InputError
        If ``rows`` is neither, or the answer is missing.
    """
    if rows not in (None, "question", "response"):
        raise InputError(f"expected rows 'question' or 'response', found {rows!r}")
    if rows == "response" and question.response is None:
        raise InputError("expected a response to look from, found none: give one, generate one, or rows='question'")
    return question.response is not None if rows is None else rows == "response"


def mean_method(model: Model, *, layers: float = 1.0, rows: Rows | None = None, per_token: bool = False) -> Method:
    """Mean attention mass over all heads of the last share of layers (0.25: the rule of ATTRIEVAL).

    ``per_token`` divides a fact's mass by its length in tokens.

    Raises
    ------
    InputError
        If the share is not in (0, 1].
    """
    if not 0.0 < layers <= 1.0:
        raise InputError(f"expected a share of layers in (0, 1], found {layers}")

    def score(question: Question) -> Scores:
        heard = hear(model, question, response=looks_from(question, rows))
        count = max(1, round(heard.mass.shape[1] * layers))
        size = heard.tokens if per_token else 1.0
        return scores_of(heard, heard.mass[:, -count:].mean((1, 2)) / size)

    return score


def heads_method(model: Model, heads: Sequence[tuple[int, int]], *, rows: Rows | None = None) -> Method:
    """Mean attention mass of chosen heads (layer, head), as QRHead selects them (arXiv 2506.09944).

    Raises
    ------
    InputError
        If there is no head, or one is not the model's.
    """
    shape = (model.anatomy.layers, model.anatomy.heads)
    wrong = [head for head in heads if not (0 <= head[0] < shape[0] and 0 <= head[1] < shape[1])]
    if not heads or wrong:
        raise InputError(f"expected heads (layer, head) within {shape[0]} x {shape[1]}, found {wrong or 'none'}")
    where = np.array(heads)

    def score(question: Question) -> Scores:
        response = looks_from(question, rows)
        heard = hear(model, question, response=response, depth=int(where[:, 0].max()) + 1)
        return scores_of(heard, heard.mass[:, where[:, 0], where[:, 1]].mean(1))

    return score


def calibrated_method(model: Model) -> Method:
    """Attention of the question's tokens less that of a question that asks nothing; the context is computed once.

    What a fact gets of any question (its place, its length, sinks) falls out.
    """

    def score(question: Question) -> Scores:
        asked, nothing = hear_all(model, [question, replace(question, text=NO_QUESTION)], response=False)
        found = scores_of(asked, asked.mass.mean((1, 2)))
        return replace(found, values=found.values - nothing.whole.mean((0, 1)), passes=2 * asked.windows)

    return score


def scores_of(heard: Heard, groups: Float[np.ndarray, "G U"]) -> Scores:
    """Scores of groups of rows, and of all rows together."""
    return Scores(
        values=np.average(groups, axis=0, weights=heard.rows),
        passes=heard.windows,
        sentences=groups if heard.sentences else None,
        context_mass=heard.context_mass,
        windows=heard.windows,
    )
