"""Length, the main confounder of injection detection: buckets of it, and rankings with it taken out."""

import numpy as np
from jaxtyping import Float, Int

_STEP = 1.25
"""Texts of one bucket differ in length by at most this factor."""
_BOUNDS = (200, 500, 1_000, 2_000, 5_000, 20_000)


def length_name(length: int) -> str:
    """The reader's bucket a text of so many characters belongs to, such as ``201-500``."""
    low = 0
    for bound in _BOUNDS:
        if length <= bound:
            return f"{low + 1:,}-{bound:,}" if low else f"up to {bound:,}"
        low = bound
    return f"over {low:,}"


def length_strata(labels: Int[np.ndarray, " N"], lengths: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """One number for each narrow bucket of length and label: draws within them keep lengths and labels as they are."""
    return np.asarray(2 * _buckets(lengths) + labels)


def matched_rows(labels: Int[np.ndarray, " N"], lengths: Int[np.ndarray, " N"]) -> int:
    """How many rows of each class have a partner of like length in the other."""
    benign, attacks = _counts(labels, _buckets(lengths))
    return int(np.minimum(benign, attacks).sum())


def matched_auroc(
    labels: Int[np.ndarray, " N"], scores: Float[np.ndarray, " N"], lengths: Int[np.ndarray, " N"]
) -> float:
    """AUROC among rows whose lengths are alike in both classes, in [0, 1].

    In each bucket of length the larger class is weighted down to the smaller, as if a sample of it had been drawn; a
    length that occurs in one class only counts for nothing. Length alone then reaches about 0.5. NaN if no row of one
    class is as long as a row of the other.
    """
    buckets = _buckets(lengths)
    benign, attacks = _counts(labels, buckets)
    smaller = np.minimum(benign, attacks)[buckets]
    weights = smaller / np.where(labels == 1, attacks[buckets], benign[buckets])
    own, other = labels == 1, labels == 0
    return _weighted_auroc(scores[other], weights[other], scores[own], weights[own])


def _buckets(lengths: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    return np.asarray(np.log(np.maximum(lengths, 1)) // np.log(_STEP), dtype=np.int64)


def _counts(labels: Int[np.ndarray, " N"], buckets: Int[np.ndarray, " N"]) -> tuple[np.ndarray, np.ndarray]:
    """Benign rows and attacks of each bucket."""
    size = int(buckets.max()) + 1
    return np.bincount(buckets[labels == 0], minlength=size), np.bincount(buckets[labels == 1], minlength=size)


def _weighted_auroc(benign: np.ndarray, benign_weights: np.ndarray, attacks: np.ndarray, weights: np.ndarray) -> float:
    if not (benign_weights.sum() > 0 and weights.sum() > 0):
        return float("nan")
    order = np.argsort(benign)
    below = np.concatenate([[0.0], np.cumsum(benign_weights[order])])
    left = below[np.searchsorted(benign[order], attacks, side="left")]
    right = below[np.searchsorted(benign[order], attacks, side="right")]
    return float(weights @ (left + right) / (2 * below[-1] * weights.sum()))
