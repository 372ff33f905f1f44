"""Ridge regression from sums, against least squares on the rows: whole, without a family, on some columns."""

import numpy as np
import pytest

from heed.errors import InputError
from heed.profile import ridge
from heed.profile.ridge import Linear, Ridge

ROWS, COLUMNS = 90, 7
FAMILIES = np.repeat(["a", "b", "c"], ROWS // 3)


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features on very different scales, labels that follow two of them, weights from 0.1 to 2."""
    rng = np.random.default_rng(0)
    features = rng.normal(5.0, 1.0, (ROWS, COLUMNS)) * np.logspace(-2, 2, COLUMNS)
    labels = (rng.normal(0, 0.5, ROWS) + (features - features.mean(0))[:, [1, 4]].sum(1) > 0).astype(int)
    return features, labels, rng.uniform(0.1, 2.0, ROWS)


def by_rows(sums: Ridge, rows: tuple[np.ndarray, ...], strength: float, used=None) -> Linear:
    """Augmented least squares: a row for each text, and one for each penalised weight."""
    features, labels, weights = rows
    used = np.arange(features.shape[1]) if used is None else used
    x = ((features - sums.mean) / sums.scale)[:, used]
    root = np.sqrt(weights / weights.sum())[:, None]
    design = np.block([[x * root, root], [np.sqrt(strength) * np.eye(len(used)), np.zeros((len(used), 1))]])
    target = np.concatenate([root[:, 0] * (2.0 * labels - 1.0), np.zeros(len(used))])
    found = np.linalg.lstsq(design, target, rcond=None)[0]
    whole = np.zeros(features.shape[1])
    whole[used] = found[:-1] / sums.scale[used]
    return Linear(whole, float(found[-1] - whole @ sums.mean))


@pytest.mark.parametrize("strength", [0.01, 0.3, 10.0])
def test_it_is_least_squares_with_a_penalty(rows, strength) -> None:
    features, *_ = rows
    sums = Ridge.of(*rows, FAMILIES)
    found, wanted = sums.solve(strength), by_rows(sums, rows, strength)
    np.testing.assert_allclose(found.weights, wanted.weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found(features), wanted(features), atol=1e-8)


def test_features_are_standardised(rows) -> None:
    features, labels, weights = rows
    sums = Ridge.of(features, labels, weights, FAMILIES)
    np.testing.assert_allclose(sums.mean, features.mean(0))
    np.testing.assert_allclose(sums.scale, features.std(0) + 1e-3)


@pytest.mark.parametrize("left", ["a", "b", "c"])
def test_leaving_a_family_out_is_fitting_without_it(rows, left) -> None:
    features, labels, weights = rows
    sums = Ridge.of(features, labels, weights, FAMILIES)
    others = left != FAMILIES
    wanted = by_rows(sums, (features[others], labels[others], weights[others]), 0.3)
    found = sums.solve(0.3, without=left)
    np.testing.assert_allclose(found(features), wanted(features), atol=1e-8)
    assert np.abs(found(features) - sums.solve(0.3)(features)).max() > 1e-3
    flipped = np.where(others, labels, 1 - labels)
    again = Ridge.of(features, flipped, weights, FAMILIES).solve(0.3, without=left)
    np.testing.assert_allclose(again(features), found(features), atol=1e-10)


def test_a_family_that_is_not_there_leaves_nothing_out(rows) -> None:
    sums = Ridge.of(*rows, FAMILIES)
    np.testing.assert_array_equal(sums.solve(0.3, without="d").weights, sums.solve(0.3).weights)


def test_on_some_columns_the_others_have_no_weight(rows) -> None:
    features, *_ = rows
    sums, used = Ridge.of(*rows, FAMILIES), np.array([0, 4, 5])
    found = sums.solve(0.3, columns=used)
    assert np.flatnonzero(found.weights).tolist() == used.tolist()
    wanted = by_rows(sums, rows, 0.3, used)
    np.testing.assert_allclose(found(features), wanted(features), atol=1e-8)


def test_neither_chunks_nor_the_order_of_rows_matter(rows, monkeypatch) -> None:
    wanted = Ridge.of(*rows, FAMILIES).solve(0.3)
    monkeypatch.setattr(ridge, "_CHUNK", 7)
    order = np.random.default_rng(3).permutation(ROWS)
    found = Ridge.of(*(part[order] for part in rows), FAMILIES[order]).solve(0.3)
    np.testing.assert_allclose(found.weights, wanted.weights, rtol=1e-8)
    assert found.bias == pytest.approx(wanted.bias)


def test_a_row_of_double_weight_counts_as_two(rows) -> None:
    """But for the standardisation, which counts rows as they are: weights of 2 everywhere change nothing."""
    features, labels, weights = rows
    one, two = (Ridge.of(features, labels, weights * n, FAMILIES).solve(0.3) for n in (1, 2))
    np.testing.assert_allclose(one.weights, two.weights, rtol=1e-9)


def test_a_constant_feature_gets_no_weight(rows) -> None:
    features, labels, weights = rows
    features[:, 2] = 7.0
    found = Ridge.of(features, labels, weights, FAMILIES).solve(0.3)
    assert found.weights[2] == pytest.approx(0.0, abs=1e-9)
    assert np.isfinite(found(features)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_no_number_is_refused_by_row(rows, bad) -> None:
    features, labels, weights = rows
    features[[41, 60], 3] = bad
    with pytest.raises(InputError, match="expected finite features, found NaN or infinity in row 41: leave it out"):
        Ridge.of(features, labels, weights, FAMILIES)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_is_refused(rows, label) -> None:
    features, labels, weights = rows
    with pytest.raises(InputError, match=rf"expected rows of both classes, found \[{label}\]: add the other"):
        Ridge.of(features, np.full_like(labels, label), weights, FAMILIES)
