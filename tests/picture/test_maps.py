"""Rows, columns and thumbnails, against the whole matrix."""

import numpy as np
import pytest

from heed.errors import InputError
from heed.picture import maps as maps_module
from heed.picture.maps import Map, StoppedError, column, row, thumbnail
from mapped import MASKS, scene_of, weights_of


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps_module, "_BLOCK_CELLS", 500)


def one_of(weights: np.ndarray, head: int = 1) -> Map:
    return Map.of(scene_of(weights), 0, head)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [1, 63, 100])
def test_a_row_is_the_mean_of_rows_that_see_something(mask, size) -> None:
    weights = weights_of(size, size, mask=mask)
    one, matrix = one_of(weights), weights[0, 1]
    for start, end in {(0, 1), (0, size), (size // 2, size), (size - 1, size)}:
        some = matrix[start:end]
        seeing = some[~np.isnan(some).all(1)]
        want = np.where(np.isnan(some).all(0), np.nan, np.nan_to_num(seeing).sum(0) / max(1, len(seeing)))
        got = row(one, start, end)
        np.testing.assert_allclose(got.values, want, atol=1e-7)
        assert (got.rows_read, got.rows_total) == (end - start, end - start)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [1, 63, 100])
def test_a_column_is_what_each_row_gives_to_these_keys(mask, size) -> None:
    weights = weights_of(size, size, mask=mask)
    one, matrix = one_of(weights), weights[0, 1]
    for start, end in {(0, 1), (0, size), (size // 2, size)}:
        some = matrix[:, start:end]
        want = np.where(np.isnan(some).all(1), np.nan, np.nan_to_num(some).sum(1))
        np.testing.assert_allclose(column(one, start, end).values, want, atol=1e-6)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (3, 2), (-1, 1), (0, 64)])
def test_a_stretch_that_is_not_there_is_refused(start, end) -> None:
    one = one_of(weights_of(63, 63))
    for read in (row, column):
        with pytest.raises(InputError, match=r"expected a stretch of (rows|keys) within \[0, 63\)"):
            read(one, start, end)


@pytest.mark.parametrize("size", [1, 47, 100])
def test_a_thumbnail_of_a_short_map_is_exact_and_without_sinks(size) -> None:
    weights = weights_of(size, size)
    got = thumbnail(one_of(weights), (0,))
    matrix = weights[0, 1].copy()
    matrix[:, 0] = np.nan
    side = min(48, size)
    edges = [place * size // side for place in range(side)] + [size]
    want = np.full((side, side), np.nan, dtype=np.float32)
    for i in range(side):
        for j in range(side):
            cell = matrix[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            if not np.isnan(cell).all():
                want[i, j] = np.nanmax(cell)
    np.testing.assert_array_equal(got.values, want)
    assert got.exact


def test_a_thumbnail_of_a_long_map_reads_some_rows_of_each_line() -> None:
    weights = weights_of(600, 600, heads=1)
    got = thumbnail(one_of(weights, 0), (0,))
    assert 192 <= got.rows_read < 600
    assert got.rows_total == 600
    assert got.values.shape == (48, 48)
    assert not np.isnan(got.values[np.tril_indices(48, -1)])[1:].any()


@pytest.mark.parametrize(
    "read",
    [
        lambda one: row(one, 0, 60, stop=lambda: True),
        lambda one: column(one, 0, 60, stop=lambda: True),
        lambda one: thumbnail(one, stop=lambda: True),
    ],
)
def test_what_nobody_waits_for_ends(read) -> None:
    with pytest.raises(StoppedError):
        read(one_of(weights_of(63, 63)))
