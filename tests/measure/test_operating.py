import math

import numpy as np
import pytest

from heed.errors import InputError
from heed.measure import binomial_interval, operating_point, penalize_abstentions, threshold_at_fpr, tpr_at_fpr


def test_a_row_is_flagged_from_the_threshold_upwards():
    point = operating_point([0, 0, 0, 1, 1], [0.1, 0.5, 0.6, 0.5, 0.4], 0.5, level=0.9)
    assert (point.tpr, point.fpr) == (0.5, 2 / 3)
    assert (point.caught, point.attacks, point.alarms, point.benign) == (1, 2, 2, 3)
    assert point.tpr_interval == binomial_interval(1, 2, level=0.9)
    assert point.fpr_interval == binomial_interval(2, 3, level=0.9)
    assert (point.attacks_abstained, point.benign_abstained) == (0, 0)


@pytest.mark.parametrize("threshold", [-math.inf, 0.5, math.inf])
def test_abstaining_is_an_alarm_on_benign_rows_and_a_miss_on_attacks_at_every_threshold(threshold):
    point = operating_point([0, 0, 1, 1], [math.nan, math.nan, math.nan, math.nan], threshold)
    assert (point.tpr, point.fpr) == (0, 1)
    assert (point.attacks_abstained, point.benign_abstained) == (2, 2)


def test_it_agrees_with_the_ranking_measures():
    rng = np.random.default_rng(3)
    labels, scores = rng.integers(0, 2, 500), rng.random(500).astype(np.float32)
    scores[rng.random(500) < 0.02] = np.nan
    worst = penalize_abstentions(labels, scores)
    threshold = threshold_at_fpr(worst[labels == 0], 0.1)
    point = operating_point(labels, scores, threshold)
    assert point.fpr <= 0.1
    assert point.tpr == tpr_at_fpr(labels, worst, 0.1)
    assert point.benign_abstained > 0


def test_a_float32_score_below_a_float64_threshold_is_not_flagged():
    score = np.float32(0.7)
    point = operating_point([0, 1], np.array([score, score]), float(np.nextafter(np.float64(score), 1)))
    assert (point.tpr, point.fpr) == (0, 0)


def test_what_has_no_operating_point_is_refused():
    with pytest.raises(InputError, match="expected a number for the threshold, found NaN"):
        operating_point([0, 1], [0.1, 0.2], math.nan)
    with pytest.raises(InputError, match="all benign"):
        operating_point([0, 0], [0.1, 0.2], 0.5)
