"""ATTRIEVAL, step by step (Zhang et al. 2025, arXiv 2503.09819): from an answer's attention rows to ranked facts.

::

    (4)  A[t, i]      mean over heads and the last quarter of layers; t a token of the answer, i one of the context
    (5)  T_t          the k tokens of the context on which row t lies heaviest
    (6)  f(c)         the share of rows t whose T_t holds a token of the fact c
    (7)  s(c)         the mean of A[t, i] over all rows t and all tokens i of c

Equation 4 is a probe (`heed.probe.MeanRows`); here come the others. The paper discards every fact with
``f(c) >= threshold`` as an attention sink, and with it what the fact says. Here the tokens that are sinks can be set
aside instead, and the facts they stand in are judged by their other tokens. Pure numpy; knows no model and no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from heed.errors import InputError
from heed.text.span import TokenSpan

Sink = Literal["paper", "token"]
"""What is set aside as an attention sink: ``paper`` whole facts, ``token`` single tokens."""

FEWEST_ROWS = 8
"""Below this many rows no token is called a sink: what all of a handful of rows look at may be what they say."""


@dataclass(frozen=True, slots=True, eq=False)
class Sifted:
    """Facts after the steps that look for sinks: what counts in their scores, and how often they are looked at.

    ``facts`` stand among N tokens; ``frequency`` is in [0, 1]. A token that is not ``counted`` is set aside, a fact
    that is ``discarded`` scores 0.
    """

    facts: tuple[TokenSpan, ...]
    frequency: Float[np.ndarray, " U"]
    counted: Bool[np.ndarray, " N"]
    discarded: Bool[np.ndarray, " U"]

    def scores(self, rows: Float[np.ndarray, "Q N"]) -> Float[np.ndarray, " U"]:
        """Equation 7 on all rows or some of them: mean attention of a row on a counted token of a fact, in [0, 1]."""
        return np.where(self.discarded, 0.0, fact_scores(rows, self.facts, self.counted))


def sift(
    rows: Float[np.ndarray, "Q N"],
    facts: Sequence[TokenSpan],
    *,
    top_k: int = 10,
    threshold: float = 0.99,
    sink: Sink = "token",
) -> Sifted:
    """Equations 5 and 6 on rows of attention, and what follows from them.

    Parameters
    ----------
    rows
        Attention of Q tokens of the answer on N tokens of the context (equation 4), in [0, 1].
    facts
        Where each fact stands among the N tokens.
    top_k
        Tokens of the context that count for each row.
    threshold
        What is in the top of at least this share of rows is a sink.
    sink
        ``paper``: a fact whose frequency reaches the threshold is discarded. ``token``: a token whose frequency does is
        set aside, and the next one takes its place among the top; not below `FEWEST_ROWS` rows.

    Raises
    ------
    InputError
        If there is no row or no fact, a fact is empty or leaves the tokens, or a setting is out of its range.
    """
    check_settings(top_k=top_k, threshold=threshold, sink=sink)
    if not rows.size or not facts:
        raise InputError(f"expected attention of at least one row on one fact, found {rows.shape} and {len(facts)}")
    wrong = next((fact for fact in facts if not fact or fact.end > rows.shape[1]), None)
    if wrong is not None:
        raise InputError(f"expected facts within {rows.shape[1]} tokens, found {wrong.start}..{wrong.end}")
    tops = top_tokens(rows, top_k)
    counted = np.ones(rows.shape[1], dtype=bool)
    if sink == "token" and len(rows) >= FEWEST_ROWS:
        counted = tops.mean(0) < threshold
        if not counted.all():
            tops = top_tokens(np.where(counted, rows, -np.inf), top_k) & counted
    frequency = fact_frequency(tops, facts)
    discarded = frequency >= threshold if sink == "paper" else np.zeros(len(facts), dtype=bool)
    return Sifted(tuple(facts), frequency, counted, discarded)


def check_settings(*, top_k: int, threshold: float, sink: str) -> None:
    """Refuse settings out of their range.

    Raises
    ------
    InputError
        With what was expected and found.
    """
    if top_k < 1 or not 0.0 < threshold <= 1.0 or sink not in get_args(Sink):
        raise InputError(
            "expected top_k of at least 1, a threshold in (0, 1] and sink 'paper' or 'token', found "
            f"{top_k}, {threshold} and {sink!r}"
        )


def top_tokens(rows: Float[np.ndarray, "Q N"], k: int) -> Bool[np.ndarray, "Q N"]:
    """Equation 5: for each row whether a token is among its ``k`` heaviest (all, where there are no more than k)."""
    held = np.zeros(rows.shape, dtype=bool)
    if k >= rows.shape[1]:
        return ~held
    np.put_along_axis(held, np.argpartition(-rows, k - 1, axis=1)[:, :k], True, axis=1)
    return held


def fact_frequency(tops: Bool[np.ndarray, "Q N"], facts: Sequence[TokenSpan]) -> Float[np.ndarray, " U"]:
    """Equation 6: the share of rows that have a token of the fact among their heaviest, in [0, 1]."""
    return np.array([tops[:, fact.slice()].any(1).mean() for fact in facts])


def fact_scores(
    rows: Float[np.ndarray, "Q N"], facts: Sequence[TokenSpan], counted: Bool[np.ndarray, " N"]
) -> Float[np.ndarray, " U"]:
    """Equation 7: mean attention of a row on a token of the fact; of the ``counted`` tokens only, 0 if it has none."""
    received = rows.mean(0, dtype=np.float64) * counted
    sizes = [counted[fact.slice()].sum() for fact in facts]
    return np.array([received[fact.slice()].sum() / max(1, size) for fact, size in zip(facts, sizes, strict=True)])
