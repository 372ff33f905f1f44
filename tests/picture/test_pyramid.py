"""Tiles at every level against cells folded one by one; what they cost, and that they can be stopped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import InputError
from heed.picture import pyramid as pyramid_module
from heed.picture.maps import StoppedError
from heed.picture.pyramid import Pyramid, TileAsk
from mapped import MASKS, coarse, folded, scene_of, weights_of


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse(monkeypatch)


def close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-9)


def every_ask(n_rows: int, n_keys: int) -> list[TileAsk]:
    asks, level = [], 0
    while True:
        side = pyramid_module.SIDE << level
        rows, cols = -(-n_rows // side), -(-n_keys // side)
        asks += [TileAsk(0, 1, level, row, col) for row in range(rows) for col in range(cols)]
        if rows == cols == 1:
            return asks
        level += 1


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [(1, 1), (63, 63), (100, 100), (37, 100), (129, 129)])
@pytest.mark.parametrize("drop", [False, True])
def test_every_tile_is_what_its_cells_hold(mask, size, drop) -> None:
    weights = weights_of(*size, mask=mask)
    pyramid, matrix = Pyramid(scene_of(weights, sinks=(0, 20))), weights[0, 1].copy()
    if drop:
        matrix[:, [sink for sink in (0, 20) if sink < size[1]]] = np.nan
    whole = {(level, how): folded(matrix, 1 << level, how) for level in range(6) for how in ("max", "mean")}
    for ask in every_ask(*size):
        for how in ("max", "mean"):
            got = pyramid.tile(TileAsk(0, 1, ask.level, ask.row, ask.col, how, drop))
            want = whole[ask.level, how][ask.row * 8 : ask.row * 8 + 8, ask.col * 8 : ask.col * 8 + 8]
            close(got.values, want)
            assert got.exact
            assert got.values.dtype == np.float32


def test_sizes_as_shipped() -> None:
    """300 tokens: two levels, edge tiles smaller."""
    weights = weights_of(300, 300)
    pyramid = Pyramid(scene_of(weights))
    np.testing.assert_array_equal(pyramid.tile(TileAsk(0, 0, 0, 1, 0)).values, weights[0, 0, 256:, :256])
    close(pyramid.tile(TileAsk(0, 0, 1, 0, 0, "mean")).values, folded(weights[0, 0], 2, "mean"))


@pytest.mark.usefixtures("small")
def test_the_mean_of_heads_is_taken_before_the_maximum() -> None:
    weights = weights_of(63, 63, heads=3)
    got = Pyramid(scene_of(weights)).tile(TileAsk(0, -1, 3, 0, 0))
    close(got.values, folded(weights[0].mean(0), 8, "max"))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mask", MASKS)
def test_sampled_rows_are_some_of_the_rows_and_say_how_many(mask) -> None:
    weights = weights_of(129, 129, mask=mask)
    pyramid = Pyramid(scene_of(weights))
    ask = TileAsk(0, 1, 5, 0, 0)
    got = pyramid.sampled(ask)
    assert got.rows_total == 129
    assert 5 <= got.rows_read < 129
    step = next(1 << n for n in range(6) if len(range(0, 129, 1 << n)) == got.rows_read)
    thinned = np.full_like(weights[0, 1], np.nan)
    thinned[::step] = weights[0, 1, ::step]
    close(got.values, folded(thinned, 32, "max"))
    assert not pyramid.quick(ask)
    exact = pyramid.tile(ask)
    assert np.all((got.values <= exact.values) | np.isnan(got.values))
    assert pyramid.quick(ask), "once computed, the exact tile is there at once"


@pytest.mark.usefixtures("small")
def test_a_cell_at_the_edge_is_never_without_a_sampled_row() -> None:
    weights = weights_of(129, 129, mask="full")  # the last line of cells is one row
    assert not np.isnan(Pyramid(scene_of(weights)).sampled(TileAsk(0, 0, 5, 0, 0)).values).any()


@pytest.mark.usefixtures("small")
def test_work_is_stopped_between_blocks_and_goes_on_where_it_stopped(monkeypatch) -> None:
    weights = weights_of(129, 129)
    scene = scene_of(weights)
    pyramid, asked = Pyramid(scene), 0
    blocks: list[int] = []
    whole = scene.maps.weights
    monkeypatch.setattr(scene.maps, "weights", lambda *where: (blocks.append(1), whole(*where))[1])

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 8

    with pytest.raises(StoppedError):
        pyramid.tile(TileAsk(0, 0, 5, 0, 0), stop=stop)
    first = len(blocks)
    shares: list[float] = []
    pyramid.tile(TileAsk(0, 0, 5, 0, 0), told=shares.append)
    second = len(blocks) - first
    pyramid.tile(TileAsk(0, 1, 5, 0, 0))
    afresh = len(blocks) - first - second
    assert 0 < first <= 8
    assert first + second < afresh + 8
    assert second < afresh
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.usefixtures("small")
def test_hidden_blocks_are_not_computed(monkeypatch) -> None:
    scene = scene_of(weights_of(129, 129))
    cells: list[int] = []
    whole = scene.maps.weights
    monkeypatch.setattr(scene.maps, "weights", lambda *where: (cells.append(whole(*where).size), whole(*where))[1])
    Pyramid(scene).tile(TileAsk(0, 0, 5, 0, 0))
    assert sum(cells) < 0.62 * 129 * 129  # causal: half, and what blocks of 16 reach beyond


@pytest.mark.usefixtures("small")
def test_the_cache_is_bounded_and_a_tile_that_went_is_the_same_again() -> None:
    weights = weights_of(129, 129, heads=6)
    pyramid = Pyramid(scene_of(weights), cache_bytes=8_000)
    first = pyramid.tile(TileAsk(0, 0, 5, 0, 0)).values
    for head in range(6):
        pyramid.tile(TileAsk(0, head, 5, 0, 0))
        assert pyramid.kept_bytes <= 8_000
    assert pyramid.kept_bytes > 0
    np.testing.assert_array_equal(pyramid.tile(TileAsk(0, 0, 5, 0, 0)).values, first)


@pytest.mark.parametrize(
    "ask",
    [
        TileAsk(0, 0, 2, 0, 0),
        TileAsk(0, 0, -1, 0, 0),
        TileAsk(0, 0, 10**8, 0, 0),
        TileAsk(0, 0, 0, 2, 0),
        TileAsk(0, 0, 0, 0, -1),
        TileAsk(1, 0, 0, 0, 0),
        TileAsk(0, 2, 0, 0, 0),
        TileAsk(0, -2, 0, 0, 0),
    ],
)
def test_a_tile_that_is_not_there_is_refused(ask) -> None:
    pyramid = Pyramid(scene_of(weights_of(300, 300)))
    for method in (pyramid.tile, pyramid.sampled, pyramid.quick):
        with pytest.raises(InputError, match="expected a"):
            method(ask)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["max", "mean"]))
def test_folding_twice_is_folding_once(rows, columns, down, across, aggregate) -> None:
    from heed.picture.cells import Cells

    weights = np.random.default_rng(rows * 41 + columns).random((rows, columns), dtype=np.float32)
    weights[weights > 0.7] = np.nan
    cells = Cells.of(weights)
    close(
        cells.folded(down, across).folded(2, 3).values(aggregate), cells.folded(down * 2, across * 3).values(aggregate)
    )
