"""Numbers of heads and flow between spans, against dense maps."""

import numpy as np
import pytest

import heed
from heed.errors import InputError
from heed.probe import head_statistics
from heed.probe.statistics import sampled
from heed.text.span import TokenSpan
from tiny import keen_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return keen_model(tmp_path_factory.mktemp("model") / "keen")


@pytest.fixture(scope="module")
def trace(model):
    return heed.trace(model, "abcabcabdd" * 6 + "xyz")


def dense(trace) -> np.ndarray:
    return np.stack([view.rows(slice(None))[0].numpy() for view in trace.views.values()])


def test_numbers_of_every_head(trace):
    maps, found = dense(trace), head_statistics(trace)
    assert (found.rows_read, found.rows) == (63, 63)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum(maps * np.log(maps), -1).mean(-1)
    np.testing.assert_allclose(found.values["entropy"], entropy, atol=1e-5)
    np.testing.assert_allclose(found.values["sink"], maps[:, :, 1:, 0].mean(-1), atol=1e-6)
    previous = np.diagonal(maps, -1, 2, 3).mean(-1)
    np.testing.assert_allclose(found.values["previous"], previous, atol=1e-6)
    ids, rows = trace.ids, []
    for row in range(63):
        keys = [key for key in range(1, row + 1) if ids[key - 1] == ids[row]]
        rows += [maps[:, :, row, keys].sum(-1)] if keys else []
    np.testing.assert_allclose(found.values["induction"], np.mean(rows, 0), atol=1e-6)


def test_mass_between_spans_and_rollout(trace):
    maps = dense(trace)
    spans = {"a": TokenSpan(0, 10), "b": TokenSpan(10, 60), "none": TokenSpan(60, 60)}
    found = head_statistics(trace, spans=spans)
    np.testing.assert_allclose(found.mass[:, :, 1, 0], maps[:, :, 10:60, :10].sum(-1).mean(-1), atol=1e-5)
    np.testing.assert_allclose(found.last[..., 1], maps[:, :, -1, 10:60].sum(-1), atol=1e-5)
    assert np.isnan(found.mass[:, :, 2]).all()
    product = np.eye(63)
    for layer, means in enumerate(maps.mean(1)):
        product = (means + np.eye(63)) / 2 @ product
        np.testing.assert_allclose(found.rollout[layer, 1, 0], product[10:60, :10].sum(-1).mean(), atol=1e-5)


def test_of_a_long_prompt_some_rows_are_read_and_said(trace):
    found = head_statistics(trace, spans={"a": TokenSpan(0, 10)}, most_rows=7)
    assert (found.rows_read, found.rows, found.rollout) == (7, 63, None)
    rows = sampled(0, 63, 7)
    maps = dense(trace)[:, :, rows]
    np.testing.assert_allclose(found.values["sink"], maps[:, :, 1:, 0].mean(-1), atol=1e-6)


@pytest.mark.parametrize(("count", "most"), [(1, 5), (63, 63), (63, 7), (100, 1), (3, 2)])
def test_sampled_rows_differ_and_end_with_the_last(count, most):
    rows = sampled(4, count, most).tolist()
    assert len(set(rows)) == len(rows) == min(count, most)
    assert rows[-1] == 4 + count - 1
    assert min(rows) >= 4


def test_one_token_has_neither_a_previous_one_nor_a_repetition(model):
    found = head_statistics(heed.trace(model, "a"))
    assert all(np.isnan(found.values[name]).all() for name in ("sink", "previous", "induction"))
    assert (found.values["entropy"] == 0).all()


def test_no_rows_are_refused(trace):
    with pytest.raises(InputError, match="at least one row to read, found 0"):
        head_statistics(trace, most_rows=0)
