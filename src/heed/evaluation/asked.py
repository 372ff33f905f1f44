"""How questions are asked: with or without their answer, in another order, or with another row's words.

Labelled questions come in and go out; nothing is ranked here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from heed.citation.data import LabelledQuestion
from heed.citation.question import Question
from heed.errors import RecordError
from heed.text.span import CharSpan

Regime = Literal["question", "response"]
"""What a method is told: the question alone, or the question and its answer."""


def answerable(rows: Sequence[LabelledQuestion], regime: Regime) -> list[LabelledQuestion]:
    """The rows that have gold facts and, if the answer is to be told, an answer."""
    return [row for row in rows if row.gold and (regime == "question" or row.question.response is not None)]


def asked_of(
    rows: Sequence[LabelledQuestion], regimes: Sequence[Regime]
) -> dict[tuple[str, Regime], list[LabelledQuestion]]:
    """The answerable rows of each data set and regime; none where a set has none.

    Raises
    ------
    RecordError
        If no question can be asked at all.
    """
    found = {
        (name, regime): answerable([row for row in rows if row.group == name], regime)
        for name in dict.fromkeys(row.group for row in rows)
        for regime in regimes
    }
    if not any(found.values()):
        answer = " and an answer to tell" if "question" not in regimes else ""
        raise RecordError(
            f"expected questions with gold facts{answer}, found none among {len(rows)}: name data sets that hold some"
        )
    return found


def tell(question: Question, regime: Regime) -> Question:
    """What a method is asked."""
    return question if regime == "response" else replace(question, response=None)


def shuffled(rows: Sequence[LabelledQuestion], *, seed: int = 0) -> list[LabelledQuestion]:
    """The same rows with their facts in another order, joined by the row's separator; gold moves with them.

    A method that ranks by what facts say keeps its quality; one that ranks by place loses it.
    """
    return [_shuffled(row, np.random.default_rng((seed, place))) for place, row in enumerate(rows)]


def _shuffled(row: LabelledQuestion, rng: np.random.Generator) -> LabelledQuestion:
    facts = row.question.facts
    order = [int(place) for place in rng.permutation(len(facts))]
    spans, start = [], 0
    for place in order:
        spans.append(CharSpan(start, start + len(facts[place])))
        start += len(facts[place]) + len(row.separator)
    now_at = {fact: place for place, fact in enumerate(order)}
    return replace(
        row,
        question=replace(row.question, context=row.separator.join(facts[at] for at in order), units=tuple(spans)),
        gold=frozenset(now_at[fact] for fact in row.gold),
        gold_sets=tuple(frozenset(now_at[fact] for fact in one) for one in row.gold_sets),
    )


def swapped(rows: Sequence[LabelledQuestion], *, seed: int = 0) -> list[LabelledQuestion]:
    """Each row with question and answer of another row: nothing is left to find, quality must fall to chance.

    Rows are taken in one random ring, so that none keeps its own; a row that asks the same words as its neighbour is
    left out. Empty of fewer than two rows.
    """
    if len(rows) < 2:
        return []
    ring = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))]
    return [
        replace(row, question=_asking(row.question, other.question))
        for row, other in zip(ring, [*ring[1:], ring[0]], strict=True)
        if row.question.text != other.question.text
    ]


def _asking(own: Question, other: Question) -> Question:
    return replace(own, text=other.text, response=other.response)
