"""Choose heads and weights from labelled readings: numpy arrays in, a choice with its evidence out; any task.

Every head gives one number a row: the share of attention that stayed on the own part. A head is good if this share
differs between the classes by more than it scatters within them, in one data set after another.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError
from heed.measure.ranking import auroc
from heed.profile.profile import Baseline, risk
from heed.reduce.contrast import against_mean

Chooser = Callable[["Labelled"], Float[np.ndarray, "L H"]]
"""From labelled shares to a weight for each head; the absolute values sum to 1, zero: not listened to."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Shares in [0, 1], labels (1: the class to be found), and the data set of each row."""

    shares: Float[np.ndarray, "N L H"]
    labels: Int[np.ndarray, " N"]
    groups: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Labelled":
        """Some of the rows."""
        return Labelled(self.shares[chosen], self.labels[chosen], self.groups[chosen])

    def layers(self, depth: int) -> "Labelled":
        """The first ``depth`` layers."""
        return Labelled(self.shares[:, :depth], self.labels, self.groups)


def separation(data: Labelled) -> Float[np.ndarray, "L H"]:
    """Difference of the class means over the sum of their deviations, averaged over the data sets with both classes.

    The Attention Tracker's margin (arXiv 2411.00348, section 4.2) keeps a head iff
    ``(m0 - k s0) - (m1 + k s1) > 0``, that is iff this number exceeds ``k``.

    Raises
    ------
    InputError
        If no data set holds both classes.
    """
    found = []
    for group in np.unique(data.groups):
        one = data.rows(data.groups == group)
        if len(np.unique(one.labels)) == 2:
            calm, loud = one.shares[one.labels == 0], one.shares[one.labels == 1]
            found.append((calm.mean(0) - loud.mean(0)) / (calm.std(0) + loud.std(0) + 1e-6))
    if not found:
        raise InputError("expected a data set with benign and injected rows, found one class in each: add such a set")
    return np.asarray(np.mean(found, axis=0))


def margin(k: float, *, baseline: Baseline = "none") -> Chooser:
    """Equal weights for the heads whose `separation` exceeds ``k``; negative for those that turn the other way."""

    def choose(data: Labelled) -> Float[np.ndarray, "L H"]:
        shares = against_mean(data.shares) if baseline == "all_heads" else data.shares
        value = separation(Labelled(shares, data.labels, data.groups))
        chosen = np.where(np.abs(value) > k, np.sign(value), 0.0)
        if not chosen.any():
            best = np.unravel_index(np.abs(value).argmax(), value.shape)
            chosen[best] = np.sign(value[best])
        return np.asarray(chosen / np.abs(chosen).sum())

    return choose


def left_out(data: Labelled, choose: Chooser, *, baseline: Baseline = "none") -> Float[np.ndarray, " N"]:
    """The risk of each row under weights that were chosen without its data set.

    With fewer than two data sets that hold both classes, a fifth of the rows is left out at a time instead.
    """
    both = [group for group in np.unique(data.groups) if len(np.unique(data.labels[data.groups == group])) == 2]
    parts = data.groups if len(both) > 1 else np.arange(len(data.labels)) % 5
    scores = np.full(len(data.labels), np.nan)
    for part in np.unique(parts):
        own = parts == part
        scores[own] = risk(choose(data.rows(~own)), data.shares[own], baseline=baseline)
    return scores


def mean_auroc(data: Labelled, scores: Float[np.ndarray, " N"]) -> float:
    """AUROC of each data set with both classes, averaged: a threshold need not carry over for this."""
    values = []
    for group in np.unique(data.groups):
        own = data.groups == group
        if len(np.unique(data.labels[own])) == 2:
            values.append(auroc(data.labels[own], scores[own]))
    return float(np.mean(values))


def stability(data: Labelled, choose: Chooser, *, repeats: int = 20, seed: int = 0) -> float:
    """How alike the chosen heads are when the rows are drawn again: mean overlap (Jaccard) with the full choice."""
    rng = np.random.default_rng(seed)
    full = choose(data) != 0
    overlaps = []
    for _ in range(repeats):
        again = choose(data.rows(rng.integers(0, len(data.labels), len(data.labels)))) != 0
        overlaps.append((full & again).sum() / (full | again).sum())
    return float(np.mean(overlaps))
