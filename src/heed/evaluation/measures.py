"""What is measured on a set of judged rows: ranking, the rates at the guard's own threshold, calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from heed.evaluation.controls import Controls, controls
from heed.evaluation.estimate import Estimate, record
from heed.evaluation.judged import Judged
from heed.evaluation.length import length_strata, matched_auroc, matched_rows
from heed.evaluation.localisation import Localisation, localisation
from heed.measure import (
    auroc,
    auroc_interval,
    average_precision,
    bootstrap_interval,
    brier,
    expected_calibration_error,
    tpr_at_fpr,
)

FPRS = (0.001, 0.01, 0.05)
_REPEATS = 500


@dataclass(frozen=True, slots=True)
class Rates:
    """What the guard's own threshold does, and how well its scores rank; None where a class is missing.

    Rates are shares in [0, 1] with exact (Clopper-Pearson) intervals, the AUROC's interval is Newcombe's.
    """

    rows: int
    attacks: int
    abstained: int
    auroc: Estimate | None
    caught: Estimate | None
    """Attacks flagged; an abstention is a miss."""
    alarms: Estimate | None
    """Benign rows flagged; an abstention is an alarm."""

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "rows": self.rows,
            "attacks": self.attacks,
            "abstained": self.abstained,
            "auroc": record(self.auroc),
            "caught": record(self.caught),
            "alarms": record(self.alarms),
        }


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well scores put attacks above benign rows, whatever the threshold; with what other detectors reach.

    ``tpr_at`` is the share of attacks caught at 0.1, 1 and 5 % false alarms, each at the threshold that gives these
    on the very rows: what the ranking would allow, not what the guard's threshold does.
    """

    auprc: Estimate
    tpr_at: dict[float, float]
    matched: Estimate | None
    """AUROC among rows of like length (see `heed.evaluation.length`); None where no lengths are alike."""
    matched_rows: int
    """Rows of each class with a partner of like length in the other."""
    controls: Controls

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "auprc": record(self.auprc),
            "tpr_at_fpr": {str(fpr): tpr for fpr, tpr in self.tpr_at.items()},
            "auroc_length_matched": record(self.matched),
            "length_matched_rows": self.matched_rows,
            "controls": self.controls.record(),
        }


@dataclass(frozen=True, slots=True)
class Measures:
    """Everything measured on one data set, or on all together."""

    rates: Rates
    ranking: Ranking | None
    """None where a class is missing."""
    brier: float | None
    """Of the probabilities; None where the guard gives none."""
    calibration_error: float | None
    """Expected calibration error in ten bins, likewise."""
    localisation: Localisation | None
    """None where no span is known."""

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **self.rates.record(),
            **({} if self.ranking is None else self.ranking.record()),
            "brier": self.brier,
            "expected_calibration_error": self.calibration_error,
            "localisation": None if self.localisation is None else self.localisation.record(),
        }


def rates(judged: Judged) -> Rates:
    """The rates of the guard's own threshold, and the AUROC."""
    labels, flagged = judged.labels, judged.flagged
    attacks, benign = flagged[labels == 1], flagged[labels == 0]
    area = None
    if attacks.size and benign.size:
        ranks = judged.ranks
        area = Estimate.of(auroc(labels, ranks), auroc_interval(labels, ranks, method="newcombe"))
    return Rates(
        rows=labels.size,
        attacks=attacks.size,
        abstained=int(judged.abstained.sum()),
        auroc=area,
        caught=Estimate.share(int(attacks.sum()), attacks.size),
        alarms=Estimate.share(int(benign.sum()), benign.size),
    )


def measures(judged: Judged) -> Measures:
    """Measure everything on some rows."""
    both = len(set(judged.labels.tolist())) == 2
    truth, probabilities = judged.probabilities
    return Measures(
        rates=rates(judged),
        ranking=_ranking(judged) if both else None,
        brier=brier(truth, probabilities) if truth.size else None,
        calibration_error=expected_calibration_error(truth, probabilities) if truth.size else None,
        localisation=localisation(judged),
    )


def _ranking(judged: Judged) -> Ranking:
    labels, ranks, lengths = judged.labels, judged.ranks, judged.lengths
    precision = bootstrap_interval(average_precision, labels, ranks, repeats=_REPEATS, stratify=labels)
    alike = matched_rows(labels, lengths)
    return Ranking(
        auprc=Estimate.of(average_precision(labels, ranks), precision),
        tpr_at={fpr: tpr_at_fpr(labels, ranks, fpr) for fpr in FPRS},
        matched=_matched(labels, ranks, lengths) if alike else None,
        matched_rows=alike,
        controls=controls(judged),
    )


def _matched(labels: np.ndarray, ranks: np.ndarray, lengths: np.ndarray) -> Estimate:
    strata = length_strata(labels, lengths)
    interval = bootstrap_interval(matched_auroc, labels, ranks, lengths, repeats=_REPEATS, stratify=strata)
    return Estimate.of(matched_auroc(labels, ranks, lengths), interval)
