"""Measures of detectors, rankings and probabilities, with their uncertainty. It does not know models."""

from heed.measure.calibration import (
    CalibrationCurve,
    Isotonic,
    Platt,
    brier,
    calibration_curve,
    expected_calibration_error,
    isotonic,
    platt,
)
from heed.measure.interval import Interval, binomial_interval, bootstrap_interval, rows_needed, wilson_interval
from heed.measure.operating import OperatingPoint, operating_point
from heed.measure.ranking import (
    auroc,
    auroc_interval,
    average_precision,
    penalize_abstentions,
    roc_curve,
    threshold_at_fpr,
    tpr_at_fpr,
)
from heed.measure.retrieval import ndcg, recall_at

__all__ = [
    "CalibrationCurve",
    "Interval",
    "Isotonic",
    "OperatingPoint",
    "Platt",
    "auroc",
    "auroc_interval",
    "average_precision",
    "binomial_interval",
    "bootstrap_interval",
    "brier",
    "calibration_curve",
    "expected_calibration_error",
    "isotonic",
    "ndcg",
    "operating_point",
    "penalize_abstentions",
    "platt",
    "recall_at",
    "roc_curve",
    "rows_needed",
    "threshold_at_fpr",
    "tpr_at_fpr",
    "wilson_interval",
]
