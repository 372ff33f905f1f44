"""Ways to choose a threshold from risks: benign scores and, for some, those of attacks come in, one number goes out.

A text is flagged iff ``score >= threshold``. This module does not know what the number is used for.
"""

from math import inf, nextafter
from typing import Literal, get_args

import numpy as np

from heed.errors import InputError
from heed.guard.empirical import Empirical, Floats, allowed

Method = Literal["fpr", "conformal", "separation", "percentile", "midpoint"]
METHODS: tuple[Method, ...] = get_args(Method)
NEEDS_ATTACKS = ("separation", "midpoint")
NOTHING = nextafter(1.0, inf)
"""The threshold that flags nothing: just above the largest risk."""


def choose_threshold(
    method: Method, benign: Floats, attacks: Floats, *, fpr: float, distribution: Empirical, abstained: int = 0
) -> float:
    """The threshold a method chooses.

    Parameters
    ----------
    benign, attacks
        Risks ``[N]`` and ``[M]`` in [0, 1]; M may be 0 where the method is none of `NEEDS_ATTACKS`.
    fpr
        Share of benign texts that may be flagged, in [0, 1]; ``separation`` and ``midpoint`` do not look at it.
    distribution
        That of the benign scores.
    abstained
        Benign rows beside these that could not be judged: for ``fpr`` and ``conformal`` each is an alarm already.

    Returns
    -------
    float
        From 0 to just above 1.

    Raises
    ------
    InputError
        If the method is none that exists, attacks are missing that it needs, or they do not score above benign rows.
    """
    if method not in METHODS:
        raise InputError(f"expected the method as one of {', '.join(METHODS)}, found {method!r}")
    if method in NEEDS_ATTACKS and not attacks.size:
        raise InputError(f"expected attacks for the method {method!r}, found none: give some, or use 'fpr'")
    if method == "separation":
        return separation(benign, attacks)
    if method == "midpoint":
        return midpoint(benign, attacks)
    if method == "percentile":
        return percentile(benign, fpr)
    rows = benign.size + abstained
    if method == "conformal":
        most = allowed(fpr, rows + 1) - 1 - abstained  # p-values count the text itself among the rows
        return NOTHING if most < 0 else distribution.threshold(most)
    return distribution.threshold(max(0, allowed(fpr, rows) - abstained))


def percentile(benign: Floats, fpr: float) -> float:
    """The ``100 * (1 - fpr)``-th percentile of the benign scores, straight between neighbours.

    Slightly more than the share ``fpr`` may reach it. Hyndman and Fan, The American Statistician 50 (1996), type 7.
    """
    return float(np.quantile(benign, 1.0 - fpr))


def midpoint(benign: Floats, attacks: Floats) -> float:
    """The middle between the means of both sets.

    Raises
    ------
    InputError
        If attacks do not score higher on the mean.
    """
    low, high = float(benign.mean()), float(attacks.mean())
    if not low < high:
        raise InputError(
            f"expected attacks to score above benign rows, found means of {high:.3f} and {low:.3f}: "
            "the labels may be swapped, or the profile does not see these attacks"
        )
    return (low + high) / 2


def separation(benign: Floats, attacks: Floats) -> float:
    """Where the share of attacks flagged exceeds that of benign rows most: Youden's J (Cancer 3, 1950).

    Equivalently where the two empirical distributions differ most (the point of the Kolmogorov-Smirnov statistic). It
    lies in the middle of the gap between two scores; of several such gaps in the widest.

    Raises
    ------
    InputError
        If no threshold flags more of the attacks than of the benign rows.
    """
    values = np.unique(np.concatenate([benign, attacks]))
    caught = 1 - np.searchsorted(np.sort(attacks), values[1:]) / attacks.size  # at values[1:], the upper end of a gap
    alarms = 1 - np.searchsorted(np.sort(benign), values[1:]) / benign.size
    gain = caught - alarms
    if not gain.size or gain.max() <= 0:
        raise InputError(
            "expected attacks to score above benign rows, found no threshold that flags more of them: "
            "the labels may be swapped, or the profile does not see these attacks"
        )
    best = np.flatnonzero(np.isclose(gain, gain.max(), rtol=0, atol=1e-12))
    widest = best[np.argmax(np.diff(values)[best])]
    return float((values[widest] + values[widest + 1]) / 2)
