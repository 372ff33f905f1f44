import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from heed import extras
from heed.errors import ExtraMissingError, InputError
from heed.measure import binomial_interval, bootstrap_interval, rows_needed, wilson_interval

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(("method", "interval"), [("exact", binomial_interval), ("wilson", wilson_interval)])
@given(counts=COUNTS, level=st.floats(0.5, 0.999))
def test_intervals_of_shares_agree_with_scipy(method, interval, counts, level):
    expected = binomtest(*counts).proportion_ci(level, method)
    found = interval(*counts, level=level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= counts[0] / counts[1] <= found.high <= 1


def test_published_values():
    exact, wilson = binomial_interval(0, 20), wilson_interval(81, 263)
    assert (exact.low, exact.high) == pytest.approx((0, 0.1684), abs=5e-5)
    assert (wilson.low, wilson.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("interval", [binomial_interval, wilson_interval])
@pytest.mark.parametrize("counts", [(0, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(interval, counts):
    with pytest.raises(InputError, match="expected 0 <= successes <= n and n >= 1, found"):
        interval(*counts)
    with pytest.raises(InputError, match="expected level strictly between 0 and 1, found 1"):
        interval(1, 2, level=1)


def test_the_exact_interval_names_its_extra(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(extras, "import_module", absent)
    with pytest.raises(ExtraMissingError, match=r"pip install 'heed\[fit\]'"):
        binomial_interval(1, 2)


def test_rows_needed_known_by_hand():
    assert rows_needed(0.01, 0.95) == 299
    assert rows_needed(0.001, 0.95) == 2995
    assert rows_needed(0.5, 0.5) == 1
    assert rows_needed(0.5, 0.875) == 3
    assert rows_needed(0.3, 0.657) == 3
    with pytest.raises(InputError, match="expected fpr strictly between 0 and 1, found 0"):
        rows_needed(0, 0.95)


@given(st.floats(1e-4, 0.9), st.floats(0.1, 0.999))
def test_rows_needed_is_the_smallest_number_that_bounds_the_rate(fpr, level):
    n = rows_needed(fpr, level)
    assert (1 - fpr) ** n <= (1 - level) * (1 + 1e-6)
    assert n == 1 or (1 - fpr) ** (n - 1) > (1 - level) * (1 - 1e-6)


def test_the_bootstrap_of_a_mean_is_close_to_theory_and_repeatable():
    values = np.random.default_rng(1).normal(3, 2, 400)
    interval = bootstrap_interval(np.mean, values, seed=5)
    half = 1.96 * values.std() / 20
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert interval == bootstrap_interval(np.mean, values, seed=5)
    assert interval != bootstrap_interval(np.mean, values, seed=6)
    narrow = bootstrap_interval(np.mean, values, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_rows_stay_together_and_strata_keep_their_counts():
    labels, values = np.repeat(["a", "b"], [7, 3]), np.arange(20).reshape(10, 2)

    def statistic(drawn_labels, drawn_values):
        assert (drawn_labels == "a").sum() == 7
        assert np.array_equal(drawn_labels == "a", drawn_values[:, 0] < 14)
        return float(drawn_values.mean())

    assert bootstrap_interval(statistic, labels, values, repeats=100, stratify=labels).low < 10


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match=r"same number of rows, at least one, found shapes \[\(2,\), \(3,\)\]"):
        bootstrap_interval(np.mean, [1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="expected arrays of the same number of rows"):
        bootstrap_interval(np.mean, [1, 2], stratify=[1])
    for arrays in ([], [[]], [3]):
        with pytest.raises(InputError, match="at least one"):
            bootstrap_interval(np.mean, *arrays)
    with pytest.raises(InputError, match="expected stratify in one dimension"):
        bootstrap_interval(np.mean, [1, 2], stratify=[[1], [2]])
    with pytest.raises(InputError, match="expected repeats >= 100, found 3"):
        bootstrap_interval(np.mean, [1, 2], repeats=3)
    with pytest.raises(InputError, match=r"found NaN in .* of 100: give stratify"):
        bootstrap_interval(lambda values: math.nan if values.sum() == 0 else 1.0, [0, 1], repeats=100)


def test_scipy_is_brought_in_only_when_it_is_needed():
    code = "import sys, heed.measure; sys.exit(bool({'torch', 'scipy', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
