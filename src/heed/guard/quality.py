"""How good a fitted profile is, data set by data set: what goes into the profile beside the weights."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from heed.guard.calibration import Calibrations
from heed.guard.data import LabelledPair
from heed.measure.operating import operating_point
from heed.measure.ranking import auroc, auroc_interval
from heed.profile import Baseline
from heed.profile.fit import Labelled, left_out, margin


class Choice(Protocol):
    """The settings heads were chosen with."""

    @property
    def k(self) -> float:
        """Margin."""
        ...

    @property
    def baseline(self) -> Baseline:
        """What shares are held against."""
        ...

    @property
    def stability(self) -> float:
        """How alike the choice is on rows drawn again."""
        ...


def labelled(pairs: Sequence[LabelledPair], shares: Float[np.ndarray, "N L H"]) -> Labelled:
    """Shares with the labels and data sets of their pairs."""
    labels = np.array([pair.label for pair in pairs])
    return Labelled(shares, labels, np.array([pair.group for pair in pairs]))


def quality(
    pairs: Sequence[LabelledPair],
    data: Labelled,
    choice: Choice,
    scores: Float[np.ndarray, " N"],
    calibrations: Calibrations,
) -> dict[str, Any]:
    """AUROC with heads chosen without a data set and with it, of the text's length alone, and rates at the thresholds.

    The rates are those of the fitting data itself: the threshold was chosen on them.
    """
    given = np.array([pair.instruction is not None for pair in pairs])
    unseen = np.full(len(pairs), np.nan)
    choose = margin(choice.k, baseline=choice.baseline)
    unseen[given] = left_out(data.rows(given), choose, baseline=choice.baseline)
    unseen[~given] = scores[~given]  # rows without an instruction never chose a head
    lengths = np.array([len(pair.data) for pair in pairs], dtype=np.float64)
    flagged = np.array([_flagged(calibrations, bool(g), float(s)) for g, s in zip(given, scores, strict=True)])
    sets = {
        str(group): set_quality(data.labels[own], unseen[own], lengths[own], flagged[own], scores[own])
        for group in np.unique(data.groups)
        for own in [data.groups == group]
    }
    assert calibrations.given is not None  # heads are fitted on rows with an instruction
    point = operating_point(data.labels[given], scores[given], calibrations.given.threshold)
    return {
        "auroc_left_out": round(auroc(data.labels[given], unseen[given]), 4),
        "auroc_length": round(auroc(data.labels[given], lengths[given]), 4),
        "stability": round(choice.stability, 4),
        "tpr": round(point.tpr, 4),
        "fpr": round(point.fpr, 4),
        "sets": sets,
    }


def set_quality(labels: Any, unseen: Any, lengths: Any, flagged: Any, scores: Any = None) -> dict[str, Any]:
    """One data set's figures, JSON-ready: AUROC where it has both classes, the rates of ``flagged``.

    ``unseen`` are risks under weights fitted without the set, ``scores`` with it, if these are known.
    """
    one: dict[str, Any] = {"rows": len(labels), "attacks": int(labels.sum())}
    if len(np.unique(labels)) == 2:
        interval = auroc_interval(labels, unseen, method="newcombe")
        one |= {
            "auroc_left_out": round(auroc(labels, unseen), 4),
            "auroc_left_out_interval": [round(interval.low, 4), round(interval.high, 4)],
            "auroc": None if scores is None else round(auroc(labels, scores), 4),
            "auroc_length": round(auroc(labels, lengths), 4),
        }
    one["tpr"] = round(float(flagged[labels == 1].mean()), 4) if labels.any() else None
    one["fpr"] = round(float(flagged[labels == 0].mean()), 4) if not labels.all() else None
    return one


def _flagged(calibrations: Calibrations, given: bool, score: float) -> bool:
    calibration = calibrations.of(given=given)
    return calibration is not None and score >= calibration.threshold
