"""The distribution of benign scores: exact while small, bounded when large, and never promising too few alarms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import InputError, ProfileError
from heed.guard.empirical import Empirical, allowed
from heed.measure import threshold_at_fpr

risks = st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=1, max_size=60)


@given(risks, st.floats(0, 1))
def test_its_thresholds_are_the_exact_ones(scores, fpr) -> None:
    expected = max(0.0, threshold_at_fpr(scores, fpr))
    assert Empirical.of(scores).threshold_at(fpr) == expected


@given(risks, st.floats(0, 1))
def test_reach_counts_the_scores_at_or_above(scores, threshold) -> None:
    assert Empirical.of(scores).reach(threshold) == sum(score >= threshold for score in scores)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.floats(0, 1), st.integers(2, 20))
def test_bounded_it_errs_towards_fewer_alarms_promised(scores, place, knots) -> None:
    exact = Empirical.of(scores)
    small = exact.bounded(knots)
    assert len(small.scores) <= max(knots, 2)
    assert small.count == exact.count
    assert small.reach(place) >= exact.reach(place)
    assert small.p_value(place) >= exact.p_value(place)
    assert exact.reach(small.threshold_at(place)) <= allowed(place, exact.count)


def test_a_hundred_thousand_scores_stay_small_and_sharp_at_the_top() -> None:
    scores = np.random.default_rng(0).uniform(size=100_000)
    exact = Empirical.of(scores)
    small = exact.bounded()
    assert len(small.scores) <= 512
    assert small.scores[-30:] == exact.scores[-30:]
    for fpr in (0.0001, 0.002, 0.01, 0.05):
        flagged = exact.reach(small.threshold_at(fpr))
        assert 0.97 * fpr * 100_000 <= flagged <= fpr * 100_000


@pytest.mark.parametrize("alarms", [0, 1, 2, 3])
def test_ties_are_flagged_together_or_not_at_all(alarms) -> None:
    tied = Empirical.of([0.1, 0.5, 0.5, 0.5])
    assert tied.reach(tied.threshold(alarms)) == (3 if alarms == 3 else 0)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.2])
def test_a_row_that_is_no_risk_is_named(score) -> None:
    with pytest.raises(InputError, match=r"in row 2 \(1 such of 3\)"):
        Empirical.of([0.1, score, 0.3])


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [((), ()), ((0.1,), (0,)), ((0.1, 0.1), (1, 2)), ((0.2, 0.3), (2, 2)), ((-0.1,), (1,)), ((float("nan"),), (1,))],
)
def test_impossible_knots_are_refused(scores, ranks) -> None:
    with pytest.raises(ProfileError, match="expected benign scores as ascending knots"):
        Empirical(scores, ranks)
