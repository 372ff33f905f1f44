"""How well scores put attacks above benign rows: labels and scores come in, rates and thresholds go out.

Labels are 0 (benign) and 1 (attack); scores are risks. A row is flagged if and only if ``score >= threshold``.
A NaN score (an abstention) is refused; ``penalize_abstentions`` turns it into the worst score first.
This module does not know where scores come from.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.errors import InputError
from heed.extras import require
from heed.measure.arrays import Floats, check_labels, check_numbers, check_share
from heed.measure.interval import Interval, normal_quantile


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an attack scores above a benign row, ties counting one half.

    ``labels`` and ``scores`` are ``[N]``; the result is in [0, 1]. Infinite scores rank as they are.
    Hanley and McNeil, Radiology 143 (1982).

    Raises
    ------
    InputError
        If a class is missing, a score is NaN, or the lengths differ.
    """
    benign, attacks = _split(labels, scores)
    return float(_placements(benign, attacks).mean())


def auroc_interval(
    labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95, method: Literal["delong", "newcombe"] = "delong"
) -> Interval:
    """Confidence interval of the AUROC.

    ``delong`` takes the variance from the placements of the rows, without assuming a distribution (DeLong, DeLong and
    Clarke-Pearson, Biometrics 44, 1988; by sorting, as in Sun and Xu, IEEE Signal Processing Letters 21, 2014), and
    builds the interval on the logit scale, so that it stays within [0, 1] (Pepe, The Statistical Evaluation of Medical
    Tests, 2003). It has nothing to say where placements do not vary, as under perfect separation. ``newcombe`` inverts
    a score test with the variance of Hanley and McNeil (Newcombe, Statistics in Medicine 25, 2006, method 5); it
    always exists and needs the extra ``fit``.

    Raises
    ------
    InputError
        As ``auroc``; or if ``delong`` finds fewer than two rows of a class, or placements without variance.
    ExtraMissingError
        If ``newcombe`` is asked for and scipy is not installed.
    """
    benign, attacks = _split(labels, scores)
    z = normal_quantile(level)
    if method == "newcombe":
        area = float(_placements(benign, attacks).mean())
        low, high = _newcombe(area, benign.size, attacks.size, z)
    elif method == "delong":
        low, high = _delong(benign, attacks, z)
    else:
        raise InputError(f"expected the method 'delong' or 'newcombe', found {method!r}: choose one of them")
    return Interval(low, high, level)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall curve, as the mean precision over the attacks; rows that tie are taken at once.

    ``labels`` and ``scores`` are ``[N]``; the result is in (0, 1], and about the share of attacks for a detector that
    knows nothing. No interpolation (Davis and Goadrich, ICML 2006).

    Raises
    ------
    InputError
        As ``auroc``.
    """
    truth = check_labels(labels, both=True)
    numbers = check_numbers(scores, name="scores", like=truth)
    order = np.argsort(numbers, kind="stable")[::-1]
    ordered, attack = numbers[order], truth[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), truth.size - 1)  # the last row of each tie
    caught = np.cumsum(attack)[ends]
    return float(np.sum(np.diff(caught, prepend=0) * caught / (ends + 1)) / truth.sum())


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive rate at each threshold, from none flagged to all, both in [0, 1] and never falling.

    ``labels`` and ``scores`` are ``[N]``; rows that tie are taken at once, so that there is a point more than scores
    that differ.

    Raises
    ------
    InputError
        As ``auroc``.
    """
    truth = check_labels(labels, both=True)
    numbers = check_numbers(scores, name="scores", like=truth)
    order = np.argsort(numbers, kind="stable")[::-1]
    ordered, attack = numbers[order], truth[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), attack.size - 1)
    caught, alarms = np.cumsum(attack)[ends], np.cumsum(~attack)[ends]
    return np.append(0.0, alarms / alarms[-1]), np.append(0.0, caught / caught[-1])


def threshold_at_fpr(benign_scores: ArrayLike, fpr: float) -> float:
    """The lowest threshold that flags at most the share ``fpr`` of the benign scores.

    With N benign scores and k the largest whole number with ``k / N <= fpr``, it is the next number above the
    (k+1)-th largest score, in the dtype of the scores. Where scores tie there, fewer than k are flagged: the share
    never exceeds ``fpr``. It is ``-inf`` (all flagged) where ``k = N``, and ``+inf`` where that score is the largest
    finite number.

    Raises
    ------
    InputError
        If ``fpr`` is outside [0, 1], a score is NaN, or more than k scores are ``+inf``: no threshold exists then.
    """
    scores = check_numbers(benign_scores, name="benign scores")
    threshold = _threshold(scores, check_share(fpr, name="fpr"))
    if threshold is None:
        raise InputError(
            f"expected at most the share {fpr} of {scores.size} benign scores to be +inf, found "
            f"{int(np.isposinf(scores).sum())}: no threshold reaches this rate; allow a higher one"
        )
    return threshold


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float) -> float:
    """The share of attacks flagged at the lowest threshold that flags at most the share ``fpr`` of benign rows.

    The threshold is that of ``threshold_at_fpr``, so ties count against the detector. Where no threshold reaches
    the rate (too many benign scores are ``+inf``), nothing may be flagged and the result is 0.

    Raises
    ------
    InputError
        If a class is missing, ``fpr`` is outside [0, 1], a score is NaN, or the lengths differ.
    """
    benign, attacks = _split(labels, scores)
    threshold = _threshold(benign, check_share(fpr, name="fpr"))
    return 0.0 if threshold is None else float((attacks >= threshold).mean())


def penalize_abstentions(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """Scores ``[N]`` in which each abstention (NaN) counts as a mistake: ``+inf`` if benign, ``-inf`` if an attack.

    Raises
    ------
    InputError
        If the lengths differ, or labels are not 0 and 1.
    """
    truth = check_labels(labels)
    numbers = check_numbers(scores, name="scores", like=truth, nan=True)
    worst = np.where(truth, -np.inf, np.inf).astype(numbers.dtype)
    return np.where(np.isnan(numbers), worst, numbers)


def _split(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    truth = check_labels(labels, both=True)
    numbers = check_numbers(scores, name="scores", like=truth)
    return numbers[~truth], numbers[truth]


def _threshold(benign: Floats, fpr: float) -> float | None:
    count = benign.size
    allowed = math.floor(fpr * count) + 1
    while allowed / count > fpr:
        allowed -= 1
    if allowed == count:
        return -math.inf
    kept = np.sort(benign)[count - 1 - allowed]
    with np.errstate(over="ignore"):
        return None if np.isposinf(kept) else float(np.nextafter(kept, math.inf))


def _placements(of: Floats, among: Floats) -> NDArray[np.float64]:
    """For each value of ``among`` ``[N]``: the share of ``of`` that lies below it, ties counting one half."""
    ordered = np.sort(of)
    below = np.searchsorted(ordered, among, side="left")
    not_above = np.searchsorted(ordered, among, side="right")
    return (below + not_above) / (2 * of.size)


def _delong(benign: Floats, attacks: Floats, z: float) -> tuple[float, float]:
    if min(benign.size, attacks.size) < 2:
        raise InputError(
            f"expected at least two rows of each class for a DeLong interval, found {benign.size} benign rows and "
            f"{attacks.size} attacks: add rows or use method='newcombe'"
        )
    of_attacks, of_benign = _placements(benign, attacks), 1 - _placements(attacks, benign)
    area = float(of_attacks.mean())
    variance = float(of_attacks.var(ddof=1) / attacks.size + of_benign.var(ddof=1) / benign.size)
    if np.ptp(of_attacks) == 0 and np.ptp(of_benign) == 0:
        raise InputError(
            f"expected scores that overlap for a DeLong interval, found placements without variance (AUROC {area:g}): "
            "use method='newcombe'"
        )
    logit, half = math.log(area / (1 - area)), z * math.sqrt(variance) / (area * (1 - area))
    return _logistic(logit - half), _logistic(logit + half)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _newcombe(area: float, benign: int, attacks: int, z: float) -> tuple[float, float]:
    def low(area: float) -> float:
        if area == 0:
            return 0.0
        # At an area of 1 the score equation has a second, trivial root at 1 itself.
        root = require("scipy.optimize", extra="fit").brentq(excess, 0.0, min(area, 1 - 1e-12), args=(area,))
        return float(root)

    def excess(theta: float, area: float) -> float:
        half = (benign + attacks) / 2 - 1
        spread = theta * (1 - theta) * (1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
        return (area - theta) ** 2 - z * z * spread / (benign * attacks)

    return low(area), 1 - low(1 - area)
