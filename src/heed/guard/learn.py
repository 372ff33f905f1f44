"""Learn a reading of all heads: from masses of labelled windows to weights, and to risks of texts they never saw.

Each family of data sets is scored by weights learned without it. Depth and penalty are chosen by these scores, the
scale and the price of searching many windows are fitted on them, so that one threshold means the same in every set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError
from heed.guard.data import LabelledPair
from heed.guard.empirical import allowed
from heed.measure.calibration import platt
from heed.measure.ranking import auroc
from heed.profile.ridge import Linear, Ridge
from heed.text.span import CharSpan
from heed.text.windows import windows

STRENGTHS = (0.1, 0.3, 1.0, 3.0)
WINDOW = 240
"""Bytes of a window. Measured in LOG.md: 110 and 450 are worse."""
MOST_BENIGN = {0: 5, 1: 1}
"""Benign windows read of a benign text and of an attack, drawn at random: more of them teach little."""
FEW = (0.01, 0.02, 0.05)
_LONG = 50
"""Characters of an injection that make a window an attack, if they are less than half of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of labelled texts, with the log masses they were heard with.

    ``texts[n]`` is the pair that window ``n`` belongs to, ``labels[n]`` 1 for an attack, 0 for benign, -1 where the row
    does not tell. ``features`` is ``[N, R, L, H, 4]``, for the query ``rows`` counted from the prompt's end.
    """

    pairs: Sequence[LabelledPair]
    texts: Int[np.ndarray, " N"]
    labels: Int[np.ndarray, " N"]
    rows: tuple[int, ...]
    features: Float[np.ndarray, "N R L H 4"]

    @property
    def given(self) -> np.ndarray:
        """Of each text: whether its instruction is known."""
        return np.array([pair.instruction is not None for pair in self.pairs])

    @property
    def families(self) -> np.ndarray:
        """Of each text: what it is left out together with."""
        return np.array([pair.family or pair.group for pair in self.pairs])

    @property
    def truth(self) -> Int[np.ndarray, " P"]:
        """Of each text: its label."""
        return np.array([pair.label for pair in self.pairs])

    @property
    def searched(self) -> Int[np.ndarray, " P"]:
        """Of each text: among how many windows its worst one counts as the worst, `MOST_BENIGN` at most.

        As many as are read of a benign text of this length, for attacks too, of which fewer are read: else the number
        of windows would tell the classes apart.
        """
        return np.array([min(MOST_BENIGN[0], _count(pair.data, WINDOW)) for pair in self.pairs])


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """The weights of one kind of prompt at one depth, and the scores of texts that had no part in them."""

    depth: int
    strength: float
    linear: Linear
    worst: Float[np.ndarray, " P"]
    """Of each text of the kind the highest window score, NaN for other texts."""
    auroc: float
    """Pooled: how well one threshold could serve all sets."""
    caught: float
    """Share of attacks, mean over sets and over thresholds at `FEW` false alarms: what penalties are chosen by."""


def window_label(pair: LabelledPair, span: CharSpan, count: int) -> int:
    """1 if the window holds half of the injection or 50 characters of it, 0 if nothing of it, else -1."""
    if pair.label == 0:
        return 0
    if pair.injected is None:
        return 1 if count == 1 else -1
    shared = pair.injected.cut(span)
    if shared is None:
        return 0
    return 1 if len(shared) >= min(_LONG, len(pair.injected) / 2) else -1


def learn(data: Windows, depths: Sequence[int], *, given: bool) -> list[Learned]:
    """Weights for each depth, at the penalty that does best on left-out families.

    Raises
    ------
    InputError
        If the texts of this kind lack a class or a second family.
    """
    kind = data.given == given
    families, truth = data.families, data.truth
    if len(np.unique(families[kind])) < 2 or len(np.unique(truth[kind])) < 2:
        raise InputError(
            "expected texts of both classes from at least two data sets (or families), found fewer: weights are judged "
            "on sets they were not learned from; add sets, or use --method margin"
        )
    rows = np.flatnonzero((data.labels >= 0) & kind[data.texts])
    own = data.texts[rows]
    sums = Ridge.of(_flat(data, rows), data.labels[rows], _weights(data, rows), families[own])
    return [_best(data, sums, depth, kind) for depth in depths]


def _best(data: Windows, sums: Ridge, depth: int, kind: np.ndarray) -> Learned:
    shape = data.features.shape[1:]
    columns = np.arange(np.prod(shape)).reshape(shape)[:, :depth].ravel()
    found = []
    for strength in STRENGTHS:
        worst = _left_out(data, sums, columns, strength, kind)
        area, caught = auroc(data.truth[kind], worst[kind]), _caught(data, worst, kind)
        found.append(Learned(depth, strength, sums.solve(strength, columns=columns), worst, area, caught))
    return max(found, key=lambda one: one.caught)


def _caught(data: Windows, worst: Float[np.ndarray, " P"], kind: np.ndarray) -> float:
    groups, attacks = np.array([pair.group for pair in data.pairs]), kind & (data.truth == 1)
    limits = np.quantile(worst[kind & (data.truth == 0)], 1.0 - np.array(FEW))
    sets = [worst[attacks & (groups == group), None] > limits for group in np.unique(groups[attacks])]
    return float(np.mean([one.mean() for one in sets]))


def _left_out(
    data: Windows, sums: Ridge, columns: np.ndarray, strength: float, kind: np.ndarray
) -> Float[np.ndarray, " P"]:
    worst = np.full(len(data.pairs), -np.inf)
    families = data.families
    for family in np.unique(families[kind]):
        rows = np.flatnonzero((kind & (families == family))[data.texts])
        scores = sums.solve(strength, without=str(family), columns=columns)(_flat(data, rows))
        np.maximum.at(worst, data.texts[rows], scores)
    return np.where(np.isfinite(worst), worst, np.nan)


def scale(
    learned: Learned, data: Windows, *, fpr: float, given: bool, price: float | None = None
) -> tuple[float, float, float]:
    """Slope, shift and price of the search, so that a risk of one half is where ``fpr`` of benign texts begin.

    The log-odds of a text are ``slope * worst + shift - price * ln(windows)``: Platt's slope, and if none is given the
    price at which benign texts of many windows are flagged as often as those of few. Where ``fpr`` of the benign texts
    is less than one of them, the highest one is where they begin: the calibration's notes say so.
    """
    kind = data.given == given
    truth, worst, searched = data.truth[kind], learned.worst[kind], np.log(data.searched[kind])
    rise = _price(worst[truth == 0], searched[truth == 0], fpr)
    slope = max(1e-3, platt(truth, worst - rise * searched).slope)
    price = slope * rise if price is None else price
    benign = np.sort((slope * worst - price * searched)[truth == 0])
    most = max(1, allowed(fpr, len(benign)))
    return slope, -float(benign[-most]), price


@lru_cache(maxsize=1 << 16)
def _count(text: str, size: int) -> int:
    return len(windows(text, size=size))


def _price(worst: Float[np.ndarray, " P"], searched: Float[np.ndarray, " P"], fpr: float) -> float:
    """The price at which benign texts of many windows pass the threshold as often as those of few.

    Of prices up to the least-squares slope of the worst window over the logarithm of the number, 0 or above.
    """
    spread = float(np.var(searched))
    if spread < 1e-9:
        return 0.0
    steepest = max(0.0, float(np.cov(worst, searched, bias=True)[0, 1] / spread))
    many = searched > np.median(searched)
    if not many.any():
        many = searched >= np.median(searched)

    def uneven(price: float) -> float:
        fair = worst - price * searched
        over = fair >= np.quantile(fair, 1.0 - fpr)
        return abs(float(over[many].mean()) - float(over[~many].mean()))

    return float(min(np.linspace(0.0, steepest, 11), key=uneven))


def _weights(data: Windows, rows: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Both classes count alike, and a set by the square root of its size."""
    groups = np.array([data.pairs[text].group for text in data.texts[rows]])
    weights = np.zeros(len(rows))
    for label in (0, 1):
        own = data.labels[rows] == label
        names, place, counts = np.unique(groups[own], return_inverse=True, return_counts=True)
        del names
        share = 1.0 / np.sqrt(counts[place])
        weights[own] = share / share.sum()
    return weights * len(rows) / 2.0


def _flat(data: Windows, rows: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N F"]:
    return np.asarray(data.features[rows].reshape(len(rows), -1))
