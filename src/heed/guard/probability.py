"""What turns a risk into a probability: a logistic or an isotonic curve, whichever foretells unseen rows better.

Labels and scores come in, one fitted curve goes out. It does not know thresholds.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError
from heed.measure.calibration import Isotonic, Platt, isotonic, platt

Curve = Literal["auto", "platt", "isotonic"]

FEWEST_FOR_ISOTONIC = 200
"""Rows of each class below which ``auto`` takes Platt's line: isotonic curves need many hundreds of rows
(Niculescu-Mizil and Caruana, ICML 2005)."""
FOLDS = 10
_CURVES: dict[str, Callable[..., Platt | Isotonic]] = {"platt": platt, "isotonic": isotonic}


def fit_probability(
    labels: Int[np.ndarray, " N"], scores: Float[np.ndarray, " N"], *, curve: Curve = "auto"
) -> Platt | Isotonic:
    """Fit a curve from scores to probabilities of an attack, for the share of attacks these rows have.

    ``auto`` takes the curve with the smaller log loss on rows it was not fitted on, in `FOLDS` parts; with fewer than
    `FEWEST_FOR_ISOTONIC` rows of a class, or hardly any score that differs, it takes Platt's.

    Raises
    ------
    InputError
        If the curve is none that exists, a class is missing, or all scores are equal.
    ExtraMissingError
        If an isotonic curve is fitted and scipy is not installed.
    """
    if curve not in ("auto", *_CURVES):
        raise InputError(f"expected the curve as one of auto, platt, isotonic, found {curve!r}")
    if curve != "auto":
        return _fit(curve, labels, scores)
    few = np.bincount(labels, minlength=2).min() < FEWEST_FOR_ISOTONIC or np.unique(scores).size < 2 * FOLDS
    if few:
        return platt(labels, scores)
    return _fit(min(_CURVES, key=lambda name: unseen_loss(name, labels, scores)), labels, scores)


def unseen_loss(curve: str, labels: Int[np.ndarray, " N"], scores: Float[np.ndarray, " N"]) -> float:
    """Mean log loss of rows that the curve was not fitted on.

    Each class is dealt out evenly, at random with a fixed seed. (Dealt out by score, neighbours of a row would always
    stay behind to foretell it: that flatters the isotonic curve.)
    """
    fold = np.empty(len(labels), dtype=np.int64)
    fold[np.lexsort((np.random.default_rng(0).random(len(labels)), labels))] = np.arange(len(labels)) % FOLDS
    losses = np.empty(len(labels))
    for part in range(FOLDS):
        own = fold == part
        found = _fit(curve, labels[~own], scores[~own]).probability(scores[own])
        right = np.where(labels[own] == 1, found, 1 - found)
        losses[own] = -np.log(np.maximum(right, np.finfo(np.float64).tiny))
    return float(losses.mean())


def _fit(curve: str, labels: Int[np.ndarray, " N"], scores: Float[np.ndarray, " N"]) -> Platt | Isotonic:
    return _CURVES[curve](labels, scores)
