"""The map of attention at every zoom: level 0 exact, level n the maximum or the mean of 2^n × 2^n weights.

Comes in: an `AttentionScene`, whose maps give exact weights block by block. Goes out: tiles of at most 256 × 256
cells. A coarse tile is computed when it is asked for, from finer ones, and kept as far as a bounded cache goes; the
work can be stopped between two blocks. Until it is done the same tile can be had from some of its rows. Many threads
may ask.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from heed.errors import InputError
from heed.picture.cells import Aggregate, Cells, joined, stretches
from heed.picture.maps import Answer, Map, Stop, hide, never, stop_if
from heed.picture.recent import Recent
from heed.text.attention import MEAN, AttentionScene

SIDE = 256
"""Cells along one side of a tile."""
_DIRECT = 3
"""Up to this level a tile is computed from weights (2,048 rows and keys), above it from finer tiles."""
_QUICK_CELLS = 1 << 22
"""Most weights computed for a tile before an exact answer is worth waiting for: about 50 ms of one core."""
_BLOCK_ROWS, _BLOCK_KEYS = 256, 2048
CACHE_BYTES = 256 << 20
"""Most bytes of coarse tiles kept by default: one head's overview of 32,768 tokens takes 110 MB."""


@dataclass(frozen=True, slots=True)
class TileAsk:
    """Which tile: cells ``[256 row, 256 (row + 1)) × [256 col, 256 (col + 1))`` of a level."""

    layer: int
    head: int
    level: int
    row: int
    col: int
    aggregate: Aggregate = "max"
    drop_sinks: bool = False

    def span(self, n_rows: int, n_keys: int) -> tuple[slice, slice]:
        """Rows and keys of a map that it covers; empty where it lies outside."""
        side = SIDE << self.level
        starts = (min(self.row * side, n_rows), min(self.col * side, n_keys))
        return slice(starts[0], min(starts[0] + side, n_rows)), slice(starts[1], min(starts[1] + side, n_keys))

    def below(self) -> list[list["TileAsk"]]:
        """The tiles of the next finer level that make up this one, two by two."""
        rows, cols = ((2 * place, 2 * place + 1) for place in (self.row, self.col))
        return [[replace(self, level=self.level - 1, row=row, col=col) for col in cols] for row in rows]


class Pyramid:
    """All tiles of all heads of a trace or an array.

    Parameters
    ----------
    scene
        What can be asked for, and its maps.
    cache_bytes
        Most bytes of coarse tiles that are kept.
    """

    def __init__(self, scene: AttentionScene, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._scene, self._sinks = scene, np.array(sorted(set(scene.sinks)), dtype=np.int64)
        self._cells: Recent[TileAsk, Cells] = Recent(cache_bytes, lambda cells: cells.nbytes)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the coarse tiles that are kept now."""
        return self._cells.used

    def quick(self, ask: TileAsk) -> bool:
        """Whether the exact tile costs no more than one of sampled rows: it is kept, small or hidden."""
        one = Map.of(self._scene, ask.layer, ask.head)
        rows, keys = self._span(one, ask)
        cells = (rows.stop - rows.start) * (keys.stop - keys.start) * self._heads_of(ask)
        return cells <= _QUICK_CELLS or one.hidden(rows, keys) or self._cells.get(self._key(one, ask)) is not None

    def tile(self, ask: TileAsk, *, stop: Stop = never, told: Callable[[float], None] | None = None) -> Answer:
        """The exact tile, ``[cells down, cells across]``; of a coarse level everything below it is computed first.

        Parameters
        ----------
        stop
            Asked between blocks; True ends the work.
        told
            Is told the share in [0, 1] that is done.

        Raises
        ------
        InputError
            If there is no such tile.
        StoppedError
            If ``stop`` said so.
        """
        one = Map.of(self._scene, ask.layer, ask.head)
        rows, keys = self._span(one, ask)
        whole, done = (rows.stop - rows.start) * (keys.stop - keys.start), 0

        def add(cells: int) -> None:
            nonlocal done
            done += cells
            if told is not None:
                told(done / whole)

        values = self._exact(one, self._key(one, ask), stop, add).values(ask.aggregate)
        return Answer(values, rows.stop - rows.start, rows.stop - rows.start)

    def sampled(self, ask: TileAsk, *, stop: Stop = never) -> Answer:
        """The tile from evenly spaced rows, at least one of each cell: exact for these, in bounded time."""
        one = Map.of(self._scene, ask.layer, ask.head)
        rows, keys = self._span(one, ask)
        lines = -(-(rows.stop - rows.start) >> ask.level)
        each = _QUICK_CELLS // (lines * (keys.stop - keys.start) * self._heads_of(ask))
        step = (1 << ask.level) >> min(ask.level, max(1, each).bit_length() - 1)
        read = slice(rows.start, rows.stop, step)
        values = self._direct(one, self._key(one, ask), read, stop).values(ask.aggregate)
        return Answer(values, len(range(rows.start, rows.stop, step)), rows.stop - rows.start)

    def _heads_of(self, ask: TileAsk) -> int:
        return len(self._scene.heads) if ask.head == MEAN else 1

    def _span(self, one: Map, ask: TileAsk) -> tuple[slice, slice]:
        """The rows and keys of a tile that was asked for, if there is such a tile."""
        levels = 1
        while max(one.n_rows, one.n_keys) > SIDE << (levels - 1):
            levels += 1
        known = 0 <= ask.level < levels and ask.row >= 0 and ask.col >= 0
        rows, keys = ask.span(one.n_rows, one.n_keys) if known else (slice(0, 0), slice(0, 0))
        if rows.start == rows.stop or keys.start == keys.stop:
            raise InputError(
                f"expected a tile of levels 0 to {levels - 1} of {one.n_rows} rows and {one.n_keys} keys, found level "
                f"{ask.level}, row {ask.row}, column {ask.col}"
            )
        return rows, keys

    def _key(self, one: Map, ask: TileAsk) -> TileAsk:
        """What a tile is kept under: the aggregates together, and once where it holds no sink to drop."""
        _, keys = ask.span(one.n_rows, one.n_keys)
        drops = ask.drop_sinks and len(self._sinks_in(keys)) > 0
        return replace(ask, aggregate="max", drop_sinks=drops)

    def _sinks_in(self, keys: slice) -> np.ndarray:
        """Sinks among these keys, counted from the first of them."""
        sinks: np.ndarray = self._sinks[(self._sinks >= keys.start) & (self._sinks < keys.stop)] - keys.start
        return sinks

    def _exact(self, one: Map, ask: TileAsk, stop: Stop, add: Callable[[int], None]) -> Cells:
        """The cells of a tile: from the cache, from the tiles below, or from weights."""
        rows, keys = ask.span(one.n_rows, one.n_keys)
        found = self._cells.get(ask)
        if found is None and ask.level > _DIRECT and not one.hidden(rows, keys):
            found = joined(self._below(one, ask, stop, add)).folded(2, 2)
            self._cells.put(ask, found)
            return found
        if found is None:
            found = self._direct(one, ask, rows, stop)
            if ask.level == _DIRECT:
                self._cells.put(ask, found)
        add((rows.stop - rows.start) * (keys.stop - keys.start))
        return found

    def _below(self, one: Map, ask: TileAsk, stop: Stop, add: Callable[[int], None]) -> list[list[Cells]]:
        """The cells of the finer tiles of a tile, line by line; those outside the map are left out."""
        lines = []
        for asks in ask.below():
            spans = [below.span(one.n_rows, one.n_keys) for below in asks]
            inside = [
                below
                for below, (rows, keys) in zip(asks, spans, strict=True)
                if rows.start < rows.stop and keys.start < keys.stop
            ]
            if inside:
                lines.append([self._exact(one, self._key(one, below), stop, add) for below in inside])
        return lines

    def _direct(self, one: Map, ask: TileAsk, rows: slice, stop: Stop) -> Cells:
        """The cells of a tile from weights of the given rows, block by block."""
        _, keys = ask.span(one.n_rows, one.n_keys)
        step, side = rows.step or 1, 1 << ask.level
        down = side // step
        lines = []
        for some in stretches(rows, max(side, _BLOCK_ROWS * step)):
            stop_if(stop)
            if one.hidden(some, keys):
                count = len(range(some.start, some.stop, step))
                lines.append([Cells.hidden(-(-count // down), -(-(keys.stop - keys.start) // side))])
            else:
                lines.append(
                    [self._block(one, some, part, ask, down) for part in stretches(keys, max(side, _BLOCK_KEYS))]
                )
        return joined(lines)

    def _block(self, one: Map, rows: slice, keys: slice, ask: TileAsk, down: int) -> Cells:
        block = one.block(rows, keys)
        if ask.drop_sinks:
            block = hide(block, self._sinks_in(keys))
        return Cells.of(block).folded(down, 1 << ask.level)
