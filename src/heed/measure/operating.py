"""What a detector does at one threshold: labels and scores come in, rates with intervals go out.

A NaN score is an abstention. Abstaining is never safe: it counts as an alarm on benign rows and as a miss on attacks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heed.errors import InputError
from heed.measure.arrays import check_labels, check_numbers
from heed.measure.interval import Interval, binomial_interval


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Rates at one threshold, abstentions counted as mistakes; the intervals are exact (Clopper-Pearson)."""

    threshold: float
    tpr: float
    fpr: float
    tpr_interval: Interval
    fpr_interval: Interval
    attacks: int
    """Rows that are attacks."""
    benign: int
    """Rows that are benign."""
    caught: int
    """Attacks that were flagged."""
    alarms: int
    """Benign rows that were flagged or abstained on."""
    attacks_abstained: int
    benign_abstained: int


def operating_point(labels: ArrayLike, scores: ArrayLike, threshold: float, *, level: float = 0.95) -> OperatingPoint:
    """Rates of a detector that flags a row if and only if ``score >= threshold``.

    ``labels`` and ``scores`` are ``[N]``; a score may be NaN, an abstention, which is an alarm on a benign row and a
    miss on an attack at every threshold. Needs the extra ``fit`` (scipy).

    Raises
    ------
    InputError
        If a class is missing, the lengths differ, or the threshold is NaN.
    ExtraMissingError
        If scipy is not installed.
    """
    truth = check_labels(labels, both=True)
    numbers = check_numbers(scores, name="scores", like=truth, nan=True)
    if np.isnan(threshold):
        raise InputError("expected a number for the threshold, found NaN: fit one or take it from threshold_at_fpr")
    abstained, flagged = np.isnan(numbers), numbers.astype(np.float64) >= threshold
    caught, alarms = int((flagged & truth).sum()), int(((flagged | abstained) & ~truth).sum())
    attacks, benign = int(truth.sum()), int((~truth).sum())
    return OperatingPoint(
        threshold=float(threshold),
        tpr=caught / attacks,
        fpr=alarms / benign,
        tpr_interval=binomial_interval(caught, attacks, level=level),
        fpr_interval=binomial_interval(alarms, benign, level=level),
        attacks=attacks,
        benign=benign,
        caught=caught,
        alarms=alarms,
        attacks_abstained=int((abstained & truth).sum()),
        benign_abstained=int((abstained & ~truth).sum()),
    )
