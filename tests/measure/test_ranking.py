import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

import heed.measure
from heed.errors import InputError
from heed.measure import (
    auroc,
    auroc_interval,
    average_precision,
    bootstrap_interval,
    penalize_abstentions,
    threshold_at_fpr,
    tpr_at_fpr,
)

TIED = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)
SCORES = st.lists(st.floats(allow_nan=False), min_size=1, max_size=30)
RATES = st.floats(0, 1) | st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.29, 0.3, 0.57])


def overlapping(benign, attacks, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(0, 1, benign), rng.normal(1.2, 1.5, attacks)])
    return np.repeat([0, 1], [benign, attacks]), scores


def join(benign, attacks):
    return [0] * len(benign) + [1] * len(attacks), [*benign, *attacks]


def test_auroc_of_cases_known_by_hand():
    assert auroc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == 1
    assert auroc([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]) == 0
    assert auroc([0, 1], [0.5, 0.5]) == 0.5
    assert auroc([0, 0, 1, 1], [1, 3, 2, 3]) == 0.625
    assert auroc([False, True], [-math.inf, math.inf]) == 1


@given(TIED, TIED)
def test_auroc_is_the_chance_that_an_attack_scores_higher(benign, attacks):
    wins = np.mean([(a > b) + (a == b) / 2 for a in attacks for b in benign])
    assert auroc(*join(benign, attacks)) == pytest.approx(wins)


def test_auroc_agrees_with_scikit_learn():
    labels, scores = overlapping(301, 99)
    assert auroc(labels, scores.round(1)) == pytest.approx(roc_auc_score(labels, scores.round(1)), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], r"expected labels in one dimension, at least one, found shape \(0,\)"),
        ([0, 0], [1, 2], "expected benign rows and attacks, found 2 rows, all benign: add the other class"),
        ([1], [1], "all attack"),
        ([0, 2], [1, 2], r"expected labels of 0 \(benign\) and 1 \(attack\), found '0', '2'"),
        (["no", "yes"], [1, 2], "found 'no', 'yes'"),
        ([0, 1], [1, 2, 3], r"expected as many scores as labels \(2\), found 3"),
        ([0, 1], [1, math.nan], "expected scores without NaN, found 1 of 2: .*penalize_abstentions"),
        ([0, 1], [[1, 2]], "expected scores as real numbers in one dimension"),
        ([0, 1], ["1", "2"], "expected scores as real numbers"),
    ],
)
def test_what_cannot_be_ranked_is_refused(labels, scores, message):
    for judge in (auroc, auroc_interval, lambda y, s: tpr_at_fpr(y, s, 0.1)):
        with pytest.raises(InputError, match=message):
            judge(labels, scores)


def test_delong_variance_of_a_case_known_by_hand():
    # Placements: attacks 1/3, 1, 1; benign 2/3, 2/3, 1 (each row's share of the other class on its right side).
    labels, scores = [0, 0, 0, 1, 1, 1], [2, 3, 1, 1.5, 4, 5]
    area = 7 / 9
    variance = np.var([1 / 3, 1, 1], ddof=1) / 3 + np.var([2 / 3, 2 / 3, 1], ddof=1) / 3
    half = 1.959963985 * math.sqrt(variance) / (area * (1 - area))
    interval = auroc_interval(labels, scores)
    assert math.log(interval.low / (1 - interval.low)) == pytest.approx(math.log(area / (1 - area)) - half)
    assert math.log(interval.high / (1 - interval.high)) == pytest.approx(math.log(area / (1 - area)) + half)
    assert interval.level == 0.95


@pytest.mark.parametrize("method", ["delong", "newcombe"])
def test_an_auroc_interval_is_close_to_the_stratified_bootstrap(method):
    labels, scores = overlapping(150, 120)
    interval = auroc_interval(labels, scores, method=method)
    drawn = bootstrap_interval(auroc, labels, scores, repeats=500, stratify=labels)
    assert interval.low == pytest.approx(drawn.low, abs=0.015)
    assert interval.high == pytest.approx(drawn.high, abs=0.015)


@pytest.mark.parametrize("method", ["delong", "newcombe"])
def test_an_auroc_interval_covers_as_often_as_it_says(method):
    truth = 0.5 * (1 + math.erf(1.2 / math.sqrt(1 + 1.5**2) / math.sqrt(2)))
    covered = 0
    for seed in range(400):
        interval = auroc_interval(*overlapping(40, 30, seed), level=0.9, method=method)
        covered += interval.low <= truth <= interval.high
    assert 0.85 <= covered / 400 <= 0.96


@given(SCORES, SCORES)
def test_newcombe_always_gives_an_interval_around_the_auroc(benign, attacks):
    labels, scores = join(benign, attacks)
    interval = auroc_interval(labels, scores, method="newcombe")
    flipped = auroc_interval(1 - np.array(labels), scores, method="newcombe")
    assert 0 <= interval.low <= auroc(labels, scores) <= interval.high <= 1
    assert interval.low < interval.high
    assert (flipped.low, flipped.high) == pytest.approx((1 - interval.high, 1 - interval.low), abs=1e-9)


def test_newcombe_narrows_with_rows_under_perfect_separation():
    lows = [auroc_interval([0] * n + [1] * n, range(2 * n), method="newcombe").low for n in (1, 5, 50, 500)]
    assert lows == sorted(lows)
    assert lows[0] < 0.5
    assert lows[-1] > 0.99


def test_delong_refuses_what_it_cannot_judge():
    with pytest.raises(InputError, match=r"placements without variance \(AUROC 1\): use method='newcombe'"):
        auroc_interval([0, 0, 1, 1], [1, 2, 3, 4])
    with pytest.raises(InputError, match=r"expected at least two rows of each class .*found 1 benign rows and 2"):
        auroc_interval([0, 1, 1], [2, 1, 3])
    with pytest.raises(InputError, match="expected the method 'delong' or 'newcombe', found 'wald'"):
        auroc_interval([0, 0, 1, 1], [1, 2, 3, 4], method="wald")
    with pytest.raises(InputError, match="expected level strictly between 0 and 1, found 95"):
        auroc_interval([0, 0, 1, 1], [1, 3, 2, 4], level=95)


@given(TIED | SCORES, RATES)
def test_the_empirical_fpr_never_exceeds_the_target_and_a_lower_threshold_would(benign, fpr):
    benign = np.array(benign)
    finite = benign[np.isfinite(benign)]
    if np.mean(np.isposinf(benign)) > fpr:
        with pytest.raises(InputError, match=r"benign scores to be \+inf"):
            threshold_at_fpr(benign, fpr)
        return
    threshold = threshold_at_fpr(benign, fpr)
    assert np.mean(benign >= threshold) <= fpr
    if threshold > -math.inf and finite.size:
        with np.errstate(over="ignore"):
            assert np.mean(benign >= np.nextafter(threshold, -math.inf)) > fpr


def test_thresholds_known_by_hand():
    scores = np.arange(100) / 100
    assert threshold_at_fpr(scores, 0.29) == np.nextafter(0.70, 1)
    assert threshold_at_fpr(scores, 0.0) == np.nextafter(0.99, 1)
    assert threshold_at_fpr(scores, 0.009) == np.nextafter(0.99, 1)
    assert threshold_at_fpr(scores, 1.0) == -math.inf
    assert threshold_at_fpr([0, 5, 5, 5], 0.5) == np.nextafter(5, 6)
    assert threshold_at_fpr([1.0, math.inf], 0.5) == np.nextafter(1, 2)
    assert threshold_at_fpr([np.finfo(np.float64).max], 0) == math.inf
    assert threshold_at_fpr([-math.inf], 0) == np.finfo(np.float64).min


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_threshold_holds_in_the_dtype_of_the_scores(dtype):
    scores = np.random.default_rng(0).random(1000).astype(dtype)
    threshold = threshold_at_fpr(scores, 0.01)
    assert np.mean(scores >= threshold) <= 0.01
    assert np.mean(scores.astype(np.float64) >= threshold) <= 0.01


def test_a_rate_outside_its_range_is_refused():
    for fpr in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match=r"expected fpr from 0 to 1, found .*not a percentage"):
            threshold_at_fpr([1.0], fpr)


@given(TIED, TIED, RATES)
def test_tpr_at_fpr_is_the_best_point_of_the_roc_curve_within_the_rate(benign, attacks, fpr):
    labels, scores = join(benign, attacks)
    fprs, tprs, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert tpr_at_fpr(labels, scores, fpr) == pytest.approx(tprs[fprs <= fpr].max())


def test_tpr_is_zero_where_no_threshold_reaches_the_rate():
    assert tpr_at_fpr([0, 0, 1], [math.inf, 0, math.inf], 0.1) == 0
    assert tpr_at_fpr([0, 0, 1], [math.inf, 0, 1], 0.5) == 1


def test_abstentions_become_the_worst_scores():
    scores = penalize_abstentions([0, 1, 0, 1], np.array([math.nan, math.nan, 0.2, 0.7], dtype=np.float32))
    assert scores.dtype == np.float32
    assert scores.tolist() == [math.inf, -math.inf, pytest.approx(0.2), pytest.approx(0.7)]
    assert auroc([0, 1, 0, 1], scores) == 0.25


@given(TIED, TIED)
def test_average_precision_is_scikit_learns(benign, attacks):
    labels, scores = join(benign, attacks)
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))


def test_average_precision_of_cases_known_by_hand():
    assert average_precision([0, 1, 1], [-math.inf, 0.2, math.inf]) == 1
    assert average_precision([1, 0, 0, 0], [0.5] * 4) == 0.25
    assert average_precision([1, 0, 1], [3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    with pytest.raises(InputError, match="all attack"):
        average_precision([1, 1], [0.1, 0.2])


def test_the_roc_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for n in (2, 63, 100):
        labels = np.arange(n) % 2
        scores = rng.integers(0, 12, n) / 12.0
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        got = heed.measure.roc_curve(labels, scores)
        np.testing.assert_allclose(got, (fpr, tpr))
        assert auroc(labels, scores) == pytest.approx(np.trapezoid(got[1], got[0]))
