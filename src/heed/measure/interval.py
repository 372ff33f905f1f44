"""Intervals: how far a measured number can be from the true one. Counts or arrays come in, Intervals go out.

This module does not know what the numbers measure.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.errors import InputError
from heed.extras import require
from heed.measure.arrays import check_share


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval; both ends belong to it. ``level`` is its confidence, such as 0.95."""

    low: float
    high: float
    level: float


def normal_quantile(level: float) -> float:
    """The two-sided quantile of the standard normal distribution: 1.96 at level 0.95.

    Raises
    ------
    InputError
        If ``level`` is not strictly between 0 and 1.
    """
    return NormalDist().inv_cdf(0.5 + check_share(level, name="level", open_ended=True) / 2)


def binomial_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Exact interval of a share: it covers the true share with at least ``level``, whatever it is.

    The ends are quantiles of beta distributions. Needs the extra ``fit`` (scipy).
    Clopper and Pearson, Biometrika 26 (1934).

    Raises
    ------
    InputError
        Unless ``0 <= successes <= n`` and ``n >= 1``.
    ExtraMissingError
        If scipy is not installed.
    """
    _check_counts(successes, n)
    tail = (1 - check_share(level, name="level", open_ended=True)) / 2
    quantile = require("scipy.special", extra="fit").betaincinv
    low = 0.0 if successes == 0 else float(quantile(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(quantile(successes + 1, n - successes, 1 - tail))
    return Interval(low, high, level)


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Score interval of a share: narrower than the exact one, covers with ``level`` on average.

    Wilson, Journal of the American Statistical Association 22 (1927).

    Raises
    ------
    InputError
        Unless ``0 <= successes <= n`` and ``n >= 1``.
    """
    _check_counts(successes, n)
    z, share = normal_quantile(level), successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high, level)


def rows_needed(fpr: float, level: float = 0.95) -> int:
    """How many benign rows without one alarm it takes to bound the false positive rate by ``fpr``.

    The smallest n with ``(1 - fpr)^n <= 1 - level``, the one-sided exact bound; at level 0.95 about ``3 / fpr``.
    Hanley and Lippman-Hand, JAMA 249 (1983).

    Raises
    ------
    InputError
        If ``fpr`` or ``level`` is not strictly between 0 and 1.
    """
    fpr = check_share(fpr, name="fpr", open_ended=True)
    level = check_share(level, name="level", open_ended=True)
    # A ratio that should be whole may come out one rounding above it.
    return max(1, math.ceil(math.log1p(-level) / math.log1p(-fpr) * (1 - 1e-12)))


def bootstrap_interval(
    statistic: Callable[..., float],
    *arrays: ArrayLike,
    level: float = 0.95,
    repeats: int = 2000,
    seed: int = 0,
    stratify: ArrayLike | None = None,
) -> Interval:
    """Percentile bootstrap interval of any statistic of rows.

    Rows (the first axis, N of them in each array) are drawn with replacement, the same ones from all arrays;
    with ``stratify`` (``[N]``, such as the labels) within each of its values, so that every draw keeps their counts.
    The same seed gives the same interval. Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Raises
    ------
    InputError
        If the arrays differ in length or are empty, ``repeats`` is below 100, or the statistic of a draw is NaN.
    """
    tail = (1 - check_share(level, name="level", open_ended=True)) / 2
    rows = [np.asarray(array) for array in arrays]
    strata = _strata(rows, None if stratify is None else np.asarray(stratify))
    if repeats < 100:
        raise InputError(f"expected repeats >= 100, found {repeats}: 2000 is usual")
    rng = np.random.default_rng(seed)
    values = np.empty(repeats)
    for repeat in range(repeats):
        drawn = np.concatenate([rng.choice(stratum, stratum.size) for stratum in strata])
        values[repeat] = statistic(*(array[drawn] for array in rows))
    if np.isnan(values).any():
        raise InputError(
            f"expected a statistic that every draw has, found NaN in {int(np.isnan(values).sum())} of {repeats}: "
            "give stratify, so that no draw lacks a class"
        )
    low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    return Interval(float(low), float(high), level)


def _strata(rows: list[NDArray[np.generic]], stratify: NDArray[np.generic] | None) -> list[NDArray[np.intp]]:
    shapes = [array.shape for array in (rows if stratify is None else [*rows, stratify])]
    if not rows or any(not shape or shape[0] == 0 or shape[0] != shapes[0][0] for shape in shapes):
        raise InputError(f"expected arrays of the same number of rows, at least one, found shapes {shapes}: align them")
    if stratify is None:
        return [np.arange(shapes[0][0])]
    if stratify.ndim != 1:
        raise InputError(f"expected stratify in one dimension, found shape {stratify.shape}: give one value a row")
    _, codes = np.unique(stratify, return_inverse=True)
    return [np.flatnonzero(codes == code) for code in range(int(codes.max()) + 1)]


def _check_counts(successes: int, n: int) -> None:
    if not 0 <= successes <= n or n < 1:
        raise InputError(f"expected 0 <= successes <= n and n >= 1, found {successes} of {n}: count again")
