"""The benign scores a calibration has seen, as a distribution of bounded size: thresholds and ranks can be looked up.

Scores come in once; afterwards any share of false alarms has its threshold and any score its p-value. It does not know
attacks.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from math import floor, inf, isfinite, nextafter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.errors import InputError, ProfileError

Floats = NDArray[np.float64]

MOST_KNOTS = 512
_ROUNDING = 1e-6
"""How far a sum of weights may carry a risk beyond its ends."""


@dataclass(frozen=True, slots=True)
class Empirical:
    """An empirical distribution of scores in [0, 1]: at ``scores[i]`` or below lie ``ranks[i]`` of them.

    Both ascend strictly. Between knots an answer errs on the side of fewer alarms promised: a threshold flags no more
    than was asked, a p-value is never too small.

    Raises
    ------
    ProfileError
        If the knots are none, do not ascend or lie outside [0, 1].
    """

    scores: tuple[float, ...]
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        try:
            good = len(self.scores) == len(self.ranks) > 0 and self.ranks[0] > 0
            good = good and all(a < b for knots in (self.scores, self.ranks) for a, b in pairwise(knots))
            good = good and self.scores[0] >= 0.0 and self.scores[-1] <= 1.0 and isfinite(self.scores[0])
        except TypeError:
            good = False
        if not good:
            raise ProfileError("expected benign scores as ascending knots in [0, 1], found others: calibrate again")

    @classmethod
    def of(cls, scores: ArrayLike) -> "Empirical":
        """The exact distribution of scores ``[N]``, N >= 1, in [0, 1]: one knot for each value.

        Raises
        ------
        InputError
            If a score is not finite or outside [0, 1]; names the first such row.
        """
        values, counts = np.unique(check_risks(scores, name="benign scores"), return_counts=True)
        return cls(tuple(values.tolist()), tuple(np.cumsum(counts).tolist()))

    @property
    def count(self) -> int:
        """How many scores were seen."""
        return self.ranks[-1]

    def bounded(self, knots: int = MOST_KNOTS) -> "Empirical":
        """At most ``knots`` of the knots: the highest scores exactly, then ever fewer.

        Their places from the top grow geometrically: with 100,000 scores the highest 40 are kept, and everywhere
        the number of scores above a knot is known to 2.3 %.
        """
        size = len(self.scores)
        if size <= knots:
            return self
        kept = size - np.unique(np.geomspace(1, size, knots).round().astype(int))[::-1]
        return Empirical(tuple(self.scores[i] for i in kept), tuple(self.ranks[i] for i in kept))

    def threshold(self, alarms: int) -> float:
        """The lowest threshold in [0, just above 1] that at most ``alarms`` of the scores reach (0: all of them do)."""
        if alarms >= self.count:
            return 0.0
        place = next(i for i, rank in enumerate(self.ranks) if self.count - rank <= alarms)
        return nextafter(self.scores[place], inf)

    def threshold_at(self, fpr: float) -> float:
        """The lowest threshold that at most the share ``fpr`` of the scores reach."""
        return self.threshold(allowed(fpr, self.count))

    def reach(self, threshold: float) -> int:
        """How many scores reach a threshold (between knots: at most so many)."""
        below = bisect_left(self.scores, threshold)
        return self.count - (self.ranks[below - 1] if below else 0)

    def p_value(self, score: float) -> float:
        """Conformal p-value in (0, 1]: ``(1 + scores that reach it) / (count + 1)``.

        For a text exchangeable with the benign ones, the chance that it is at most p is at most p (Vovk, Gammerman and
        Shafer 2005; for outliers Bates et al., Annals of Statistics 51, 2023).
        """
        return (1 + self.reach(score)) / (self.count + 1)


def allowed(fpr: float, rows: int) -> int:
    """The largest whole number k with ``k / rows <= fpr``."""
    most = floor(fpr * rows) + 1
    while most / rows > fpr:
        most -= 1
    return most


def check_risks(scores: ArrayLike, *, name: str) -> Floats:
    """Scores ``[N]`` as float64, N >= 1, all in [0, 1] (but for rounding, which is cut off).

    Raises
    ------
    InputError
        If they are anything else; names the first row that is.
    """
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected {name} as numbers in [0, 1], found: {error}") from error
    if found.ndim != 1 or found.size == 0:
        raise InputError(f"expected {name} in one dimension, at least one, found shape {found.shape}: give one a row")
    wrong = np.flatnonzero(~((found >= -_ROUNDING) & (found <= 1.0 + _ROUNDING)))
    if wrong.size:
        raise InputError(
            f"expected {name} in [0, 1], found {found[wrong[0]]:g} in row {wrong[0] + 1} "
            f"({wrong.size} such of {found.size}): leave these rows out"
        )
    return np.clip(found, 0.0, 1.0)
