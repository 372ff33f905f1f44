"""Labelled pairs and what a guard said of them, as columns: the value every measure here is taken of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from heed.errors import RecordError
from heed.guard.data import LabelledPair
from heed.guard.verdict import Verdict
from heed.measure import penalize_abstentions

Progress = Callable[[int, int], None]
"""Called with rows done and rows to do."""

_CHUNK = 64


class Judge(Protocol):
    """What can be evaluated: a guard, an ensemble of guards, or anything that answers like them."""

    def check_many(self, pairs: Iterable[tuple[str | None, str]], /) -> list[Verdict]:
        """One verdict for each pair of instruction and data, in their order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Rows and their verdicts, side by side.

    An abstention is never right: it counts as flagged on a benign row and as missed on an attack.
    """

    pairs: tuple[LabelledPair, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def labels(self) -> Int[np.ndarray, " N"]:
        """1 where the data holds an injection, else 0."""
        return np.array([pair.label for pair in self.pairs], dtype=np.int64)

    @property
    def scores(self) -> Float[np.ndarray, " N"]:
        """Risks in [0, 1]; NaN where the guard gave none."""
        return np.array([np.nan if v.score is None else v.score for v in self.verdicts], dtype=np.float64)

    @property
    def ranks(self) -> Float[np.ndarray, " N"]:
        """How far each score lies above the row's own threshold: what rankings are measured on.

        Texts with and without an instruction have thresholds of their own, and their scores cannot be compared; on
        rows of one kind the order is that of the scores, and so it is where no row has a threshold. The worst possible
        rank where the guard gave no score, or no threshold though others have one.
        """
        bars = np.array([np.nan if v.threshold is None else v.threshold for v in self.verdicts], dtype=np.float64)
        above = self.scores if np.isnan(bars).all() else self.scores - bars
        return np.asarray(penalize_abstentions(self.labels, above), dtype=np.float64)

    @property
    def abstained(self) -> Bool[np.ndarray, " N"]:
        """Where the guard did not decide."""
        return np.array([verdict.flagged is None for verdict in self.verdicts], dtype=bool)

    @property
    def flagged(self) -> Bool[np.ndarray, " N"]:
        """Where the guard raised an alarm, or abstained on a benign row."""
        alarms = np.array([verdict.flagged is True for verdict in self.verdicts], dtype=bool)
        return np.where(self.labels == 0, alarms | self.abstained, alarms)

    @property
    def probabilities(self) -> tuple[Int[np.ndarray, " M"], Float[np.ndarray, " M"]]:
        """Labels and probabilities of the rows that have a probability."""
        known = [place for place, verdict in enumerate(self.verdicts) if verdict.probability is not None]
        values = np.array([self.verdicts[place].probability for place in known], dtype=np.float64)
        return self.labels[known], values

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """Characters of the data."""
        return np.array([len(pair.data) for pair in self.pairs], dtype=np.int64)

    @property
    def groups(self) -> tuple[str, ...]:
        """The data sets, in the order of their first rows."""
        return tuple(dict.fromkeys(pair.group for pair in self.pairs))

    def of_set(self, name: str) -> "Judged":
        """The rows of one data set."""
        return self.where(lambda pair: pair.group == name)

    def where(self, holds: Callable[[LabelledPair], bool]) -> "Judged":
        """The rows for which something holds, in order."""
        return self.rows(np.array([holds(pair) for pair in self.pairs], dtype=bool))

    def rows(self, chosen: Bool[np.ndarray, " N"]) -> "Judged":
        """The chosen rows, in order."""
        places = np.flatnonzero(chosen)
        return Judged(tuple(self.pairs[i] for i in places), tuple(self.verdicts[i] for i in places))


def judge(guard: Judge, pairs: Sequence[LabelledPair], *, progress: Progress | None = None) -> Judged:
    """Ask a guard for a verdict on every row.

    Rows are handed over in chunks of like length, so that batches are well filled; the result is in the order of
    ``pairs``.

    Raises
    ------
    RecordError
        If there is no row.
    """
    if not pairs:
        raise RecordError("expected labelled rows to evaluate, found none: name files that hold some")
    order = sorted(range(len(pairs)), key=lambda place: len(pairs[place].data) + len(pairs[place].instruction or ""))
    found: dict[int, Verdict] = {}
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        verdicts = guard.check_many([(pairs[place].instruction, pairs[place].data) for place in chunk])
        # Heads are for pictures; kept for thousands of rows they would fill the memory.
        found |= {place: replace(verdict, heads=None) for place, verdict in zip(chunk, verdicts, strict=True)}
        if progress is not None:
            progress(len(found), len(pairs))
    return Judged(tuple(pairs), tuple(found[place] for place in range(len(pairs))))
