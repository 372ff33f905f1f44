"""Rankings by attention masses alone: all heads of some layers, chosen heads, or held against an empty question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from heed.citation.generate import hear_answer
from heed.citation.question import Question
from heed.citation.reading import Heard, hear, hear_all
from heed.citation.scores import Method, Scores
from heed.errors import InputError
from heed.model import Model
from heed.probe import PrefixCache

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


@dataclass(frozen=True, slots=True, eq=False)
class HeardMethod:
    """A method that weighs what was heard: of a finished prompt when it is called, or of an answer as it came about."""

    model: Model
    weigh: Callable[[Heard, bool], Scores]
    """Scores from what was heard, and whether it was heard of an answer."""
    rows: Rows | None = None
    depth: Callable[[bool], int | None] = lambda response: None
    """Layers to run; None: all."""
    prefix: PrefixCache | None = None
    """What it holds of a prompt's beginning is not computed again."""

    def __call__(self, question: Question) -> Scores:
        """One pass over the prompt."""
        response = looks_from(question, self.rows)
        depth = self.depth(response)
        heard = hear(self.model, question, response=response, depth=depth, prefix=self.prefix)
        return self.weigh(heard, response)

    def answer(self, question: Question, max_new_tokens: int) -> tuple[Question, Scores]:
        """Let the model answer, and score what its tokens look at as it does."""
        answered, heard = hear_answer(self.model, question, max_new_tokens=max_new_tokens)
        return answered, self.weigh(heard, True)


def mean_method(
    model: Model,
    *,
    layers: float = 1.0,
    rows: Rows | None = None,
    per_token: bool = False,
    prefix: PrefixCache | None = None,
) -> HeardMethod:
    """Mean attention mass over all heads of the last share of layers (0.25: the rule of ATTRIEVAL).

    ``per_token`` divides a fact's mass by its length in tokens.

    Raises
    ------
    InputError
        If the share is not in (0, 1].
    """
    if not 0.0 < layers <= 1.0:
        raise InputError(f"expected a share of layers in (0, 1], found {layers}")

    def weigh(heard: Heard, response: bool) -> Scores:
        del response
        count = max(1, round(heard.mass.shape[1] * layers))
        return scores_of(heard, heard.mass[:, -count:].mean((1, 2)) / (heard.tokens if per_token else 1.0))

    return HeardMethod(model, weigh, rows, prefix=prefix)


def heads_method(
    model: Model, heads: Sequence[tuple[int, int]], *, rows: Rows | None = None, prefix: PrefixCache | None = None
) -> HeardMethod:
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

    def weigh(heard: Heard, response: bool) -> Scores:
        del response
        return scores_of(heard, heard.mass[:, where[:, 0], where[:, 1]].mean(1))

    return HeardMethod(model, weigh, rows, lambda response: int(where[:, 0].max()) + 1, prefix)


def calibrated_method(model: Model, *, rows: Rows | None = None) -> Method:
    """Attention of the question's tokens less that of a question that asks nothing; the context is computed once.

    What a fact gets of any question (its place, its length, sinks) falls out. An answer is not looked from.

    Raises
    ------
    InputError
        If it is to look from an answer.
    """
    if rows not in (None, "question"):
        raise InputError(f"expected rows 'question' for the method calibrated, found {rows!r}: it compares questions")

    def score(question: Question) -> Scores:
        asked, nothing = hear_all(model, [question, replace(question, text=NO_QUESTION)], response=False)
        found = scores_of(asked, asked.mass.mean((1, 2)))
        return replace(
            found, values=found.values - nothing.whole.mean((0, 1)), passes=2 * asked.windows, rows="question"
        )

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
