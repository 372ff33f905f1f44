"""How far probabilities can be taken at their word, and how scores become probabilities.

Labels of 0 (benign) and 1 (attack) and numbers come in; curves, errors and fitted curves go out. This module does not
know where a threshold lies.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.errors import InputError
from heed.extras import require
from heed.measure.arrays import check_finite, check_labels


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationCurve:
    """Predicted against observed share of attacks, in bins of equal width over [0, 1].

    A bin holds its lower edge, the last bin both edges. Where ``count`` is 0, the shares are NaN.
    """

    edges: NDArray[np.float64]
    """``[bins + 1]``, from 0 to 1."""
    predicted: NDArray[np.float64]
    """``[bins]``: the mean probability."""
    observed: NDArray[np.float64]
    """``[bins]``: the share of attacks."""
    count: NDArray[np.int64]
    """``[bins]``: the number of rows."""


class Platt(NamedTuple):
    """A logistic curve: ``probability = 1 / (1 + exp(-(slope * score + intercept)))``."""

    slope: float
    intercept: float

    def probability(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of scores of any shape, in [0, 1]; NaN stays NaN."""
        logits = self.slope * np.asarray(scores, dtype=np.float64) + self.intercept
        with np.errstate(invalid="ignore"):  # NaN is an answer here: an abstention has no probability
            return np.exp(-np.logaddexp(0.0, -logits))


class Isotonic(NamedTuple):
    """A rising curve through knots, straight between them and level beyond the first and the last."""

    scores: tuple[float, ...]
    """Ascending, each once."""
    probabilities: tuple[float, ...]
    """Never falling, in (0, 1)."""

    def probability(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of scores of any shape, in (0, 1); NaN stays NaN."""
        return np.asarray(np.interp(np.asarray(scores, dtype=np.float64), self.scores, self.probabilities))


def calibration_curve(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> CalibrationCurve:
    """Compare probabilities ``[N]`` with what came true, bin by bin.

    DeGroot and Fienberg, The Statistician 32 (1983).

    Raises
    ------
    InputError
        If a probability is outside [0, 1], the lengths differ, or ``bins`` is below 1.
    """
    truth, values = _check(labels, probabilities)
    if bins < 1:
        raise InputError(f"expected bins >= 1, found {bins}: 10 is usual")
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.searchsorted(edges[1:-1], values, side="right")
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(index, weights=values, minlength=bins) / count
        observed = np.bincount(index, weights=truth, minlength=bins) / count
    return CalibrationCurve(edges, predicted, observed, count)


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Brier score: the mean squared difference of probability and label, in [0, 1]; lower is better.

    Brier, Monthly Weather Review 78 (1950).

    Raises
    ------
    InputError
        If a probability is outside [0, 1] or the lengths differ.
    """
    truth, values = _check(labels, probabilities)
    return float(np.mean((values - truth) ** 2))


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Mean distance of predicted and observed share over the bins, weighted by their rows; in [0, 1].

    It depends on ``bins`` and is biased upwards on few rows. Naeini, Cooper and Hauskrecht, AAAI (2015).

    Raises
    ------
    InputError
        As ``calibration_curve``.
    """
    curve = calibration_curve(labels, probabilities, bins)
    gap = np.abs(curve.predicted - curve.observed)
    return float(np.nansum(gap * curve.count) / curve.count.sum())


def platt(labels: ArrayLike, scores: ArrayLike) -> Platt:
    """Fit a logistic curve that turns scores ``[N]`` into probabilities.

    Instead of 1 and 0, attacks aim at ``(n1 + 1) / (n1 + 2)`` and benign rows at ``1 / (n0 + 2)``, so that the fit is
    finite even under perfect separation (Platt, 1999); solved by Newton steps with backtracking (Lin, Lin and Weng,
    Machine Learning 68, 2007). A negative slope means that higher scores went with benign rows.

    Raises
    ------
    InputError
        If a class is missing, a score is not finite, the lengths differ, or all scores are equal.
    """
    truth = check_labels(labels, both=True)
    numbers = check_finite(scores, name="scores", like=truth)
    centre, scale = float(numbers.mean()), float(numbers.std())
    if np.ptp(numbers) == 0 or scale == 0:
        raise InputError(
            f"expected scores that differ, found {numbers[0]:g} on every row: there is nothing to calibrate"
        )
    attacks = int(truth.sum())
    targets = np.where(truth, (attacks + 1) / (attacks + 2), 1 / (truth.size - attacks + 2))
    slope, intercept = _newton((numbers - centre) / scale, targets)
    return Platt(slope / scale, intercept - slope * centre / scale)


def isotonic(labels: ArrayLike, scores: ArrayLike) -> Isotonic:
    """Fit a rising curve that turns scores ``[N]`` into probabilities; needs the extra ``fit`` (scipy).

    Least squares under the constraint that it never falls (Zadrozny and Elkan, KDD 2002), by pooling adjacent
    violators. It aims at Platt's smoothed targets instead of 1 and 0, so that no probability is 0 or 1. It has many
    more ways to follow chance than a logistic curve: it wants hundreds of rows.

    Raises
    ------
    InputError
        If a class is missing, a score is not finite, or the lengths differ.
    ExtraMissingError
        If scipy is not installed.
    """
    truth = check_labels(labels, both=True)
    numbers = check_finite(scores, name="scores", like=truth)
    attacks = int(truth.sum())
    targets = np.where(truth, (attacks + 1) / (attacks + 2), 1 / (truth.size - attacks + 2))
    places, index, count = np.unique(numbers, return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=targets) / count
    found = require("scipy.optimize", extra="fit").isotonic_regression(means, weights=count)
    starts = found.blocks[:-1]
    knots = np.unique(np.concatenate([starts, found.blocks[1:] - 1]))  # both ends of each level stretch
    return Isotonic(tuple(places[knots].tolist()), tuple(found.x[knots].tolist()))


def _newton(scores: NDArray[np.float64], targets: NDArray[np.float64]) -> tuple[float, float]:
    design = np.stack([scores, np.ones_like(scores)], axis=1)  # [N, 2]
    weights = np.array([0.0, np.log(targets.mean() / (1 - targets.mean()))])
    loss = _loss(design @ weights, targets)
    for _ in range(100):
        share = np.exp(-np.logaddexp(0.0, -(design @ weights)))
        gradient = design.T @ (share - targets)
        if np.abs(gradient).max() <= 1e-10 * targets.size:
            break
        curvature = (design * (share * (1 - share))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights, loss = _backtrack(design, targets, weights, step, loss=loss, descent=float(gradient @ step))
    return float(weights[0]), float(weights[1])


def _backtrack(
    design: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    step: NDArray[np.float64],
    *,
    loss: float,
    descent: float,
) -> tuple[NDArray[np.float64], float]:
    """The first of the full step, its half, its quarter … that lowers the loss enough."""
    length = 1.0
    while length >= 1e-10:
        moved = weights - length * step
        moved_loss = _loss(design @ moved, targets)
        if moved_loss <= loss - 1e-4 * length * descent:
            return moved, moved_loss
        length /= 2
    return weights, loss


def _loss(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0.0, logits) - targets * logits))


def _check(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth = check_labels(labels)
    values = check_finite(probabilities, name="probabilities", like=truth)
    if values.min() < 0 or values.max() > 1:
        found = f"{values.min():g} to {values.max():g}"
        raise InputError(
            f"expected probabilities from 0 to 1, found {found}: turn scores into probabilities with platt"
        )
    return truth, values
