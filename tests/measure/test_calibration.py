import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import brier_score_loss

from heed.errors import InputError
from heed.measure import brier, calibration_curve, expected_calibration_error, platt


def test_a_curve_known_by_hand():
    curve = calibration_curve([0, 1, 1, 0, 1], [0.0, 0.1, 0.5, 0.5, 1.0], 2)
    assert curve.edges.tolist() == [0, 0.5, 1]
    assert curve.count.tolist() == [2, 3]
    assert curve.predicted.tolist() == pytest.approx([0.05, 2 / 3])
    assert curve.observed.tolist() == pytest.approx([0.5, 2 / 3])
    assert expected_calibration_error([0, 1, 1, 0, 1], [0.0, 0.1, 0.5, 0.5, 1.0], 2) == pytest.approx(0.45 * 2 / 5)


def test_an_empty_bin_has_no_shares_and_no_weight():
    curve = calibration_curve([1, 1], [0.95, 0.97])
    assert curve.count.tolist() == [0] * 9 + [2]
    assert np.isnan(curve.predicted[:9]).all()
    assert expected_calibration_error([1, 1], [0.95, 0.97]) == pytest.approx(0.04)


def test_brier_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.random(200)
    labels = rng.random(200) < probabilities
    assert brier(labels, probabilities) == pytest.approx(brier_score_loss(labels, probabilities))
    assert expected_calibration_error(labels, probabilities) < 0.15 < expected_calibration_error(~labels, probabilities)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1), st.integers(1, 20))
def test_every_row_falls_in_one_bin_and_errors_stay_in_range(rows, bins):
    labels, probabilities = zip(*rows, strict=True)
    curve = calibration_curve(labels, probabilities, bins)
    assert curve.count.sum() == len(rows)
    assert 0 <= expected_calibration_error(labels, probabilities, bins) <= 1 + 1e-9
    assert 0 <= brier(labels, probabilities) <= 1


def sample(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.random(rows)
    return rng.random(rows) < 1 / (1 + np.exp(-(8 * scores - 5))), scores


def test_platt_finds_the_curve_that_made_the_labels():
    slope, intercept = platt(*sample(20_000))
    assert (slope, intercept) == pytest.approx((8, -5), abs=0.3)


def test_platt_agrees_with_a_general_optimizer():
    labels, scores = sample()
    fit = platt(labels, scores)
    targets = np.where(labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2))

    def loss(weights):
        logits = weights[0] * scores + weights[1]
        return np.sum(np.logaddexp(0, logits) - targets * logits)

    assert fit == pytest.approx(minimize(loss, [0, 0], tol=1e-10).x, rel=1e-4)
    assert fit.probability(scores) == pytest.approx(1 / (1 + np.exp(-(fit.slope * scores + fit.intercept))))


def test_platt_is_finite_under_perfect_separation_and_reaches_its_targets():
    fit = platt([0, 0, 0, 1, 1], [1, 1, 1, 2, 2])
    assert fit.probability([1, 2]) == pytest.approx([1 / 5, 3 / 4], abs=1e-8)
    assert platt([1, 1, 0, 0], [1, 2, 3, 4]).slope < 0


def test_platt_does_not_overshoot_on_one_far_attack():
    fit = platt([1] + [0] * 11, [99.96, -0.02, 0.01, 0.01, 0.15, -0.01, 0.02, -0.02, -0.01, -0.44, 0.18, -0.3])
    assert fit == pytest.approx((0.0317812, -2.48369), rel=1e-4)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(-1e6, 1e6, width=32)), min_size=2, max_size=40).filter(
        lambda rows: len({row[0] for row in rows}) == 2 and np.ptp([row[1] for row in rows]) > 1e-3
    )
)
def test_platt_is_at_the_minimum_of_its_loss(rows):
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    fit = platt(labels, scores)
    targets = np.where(labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2))
    rest = fit.probability(scores) - targets
    assert abs(rest.sum()) < 1e-6 * len(rows)
    assert abs(rest @ (scores - scores.mean())) / scores.std() < 1e-6 * len(rows)


def test_a_probability_of_an_extreme_score_does_not_overflow():
    fit = platt(*sample())
    assert fit.probability([-1e300, 1e300, math.nan]) == pytest.approx([0, 1, math.nan], nan_ok=True)


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(InputError, match=r"expected probabilities from 0 to 1, found -0\.5 to 1\.5"):
        brier([0, 1], [-0.5, 1.5])
    with pytest.raises(InputError, match="expected probabilities without NaN"):
        calibration_curve([0, 1], [0.5, math.nan])
    with pytest.raises(InputError, match="expected bins >= 1, found 0"):
        calibration_curve([0, 1], [0.5, 0.5], 0)
    with pytest.raises(InputError, match="expected scores that differ, found 3 on every row"):
        platt([0, 1], [3, 3])
    with pytest.raises(InputError, match="expected finite scores, found 1 infinite"):
        platt([0, 1], [3, math.inf])
    with pytest.raises(InputError, match="all attack"):
        platt([1, 1], [3, 4])
