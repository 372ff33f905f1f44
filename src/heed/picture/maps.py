"""Maps: exact weights of one head, block by block; and what is read from them without any pyramid.

Comes in: an `AttentionScene`, whose maps are a trace's or an array's. Goes out: `Answer`s, which say how many of the
rows they cover were read. Rows and keys count from 0. What can be asked, and how it is meant: docs/viewer.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError
from heed.picture.cells import stretches
from heed.text.attention import MEAN, AttentionScene, Maps

Stop = Callable[[], bool]
"""Asked between two blocks: True ends the work."""

_BLOCK_CELLS = 1 << 19
_THUMBNAIL, _THUMBNAIL_ROWS = 48, 192


class StoppedError(Exception):
    """Ends work that nobody waits for any more; whoever had it stopped catches it."""


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """The map of one head of a scene, or of the mean of its heads; NaN marks what the mask hides."""

    maps: Maps
    layer: int
    head: int
    start: Int[np.ndarray, " Q"]
    end: Int[np.ndarray, " Q"]
    n_keys: int

    @classmethod
    def of(cls, scene: AttentionScene, layer: int, head: int) -> Self:
        """Open a map, by the numbers that the scene gives layers and heads.

        Raises
        ------
        InputError
            If the scene has no such layer or head.
        """
        if layer not in scene.layers or head not in (*scene.heads, MEAN):
            raise InputError(f"expected a layer and a head of this picture, found layer {layer}, head {head}")
        return cls(scene.maps, layer, head, *scene.maps.visible(layer), len(scene.tokens))

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(self.start)

    def block(self, rows: slice, keys: slice) -> Float[np.ndarray, "q t"]:
        """Exact weights of some rows (any step) on neighbouring keys, fp32."""
        return self.maps.weights(self.layer, self.head, rows, keys)

    def hidden(self, rows: slice, keys: slice) -> bool:
        """Whether these rows see none of these keys."""
        start, end = self.start[rows.start : rows.stop], self.end[rows.start : rows.stop]
        return not bool(((start < keys.stop) & (end > keys.start) & (start < end)).any())


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Weights in fp32, NaN where nothing is visible, and how many of the rows they cover were read."""

    values: np.ndarray
    rows_read: int
    rows_total: int

    @property
    def exact(self) -> bool:
        """Whether all rows were read."""
        return self.rows_read == self.rows_total


def never() -> bool:
    """Do not stop."""
    return False


def stop_if(stop: Stop) -> None:
    """End the work here if nobody waits for it.

    Raises
    ------
    StoppedError
        If ``stop`` says so.
    """
    if stop():
        raise StoppedError


def row(one: Map, start: int, end: int, *, stop: Stop = never) -> Answer:
    """Mean of rows ``[start, end)``, ``[T]``: what these tokens attend to.

    A key hidden from some of the rows gets 0 from them; rows that see nothing are left out.

    Raises
    ------
    InputError
        If there are no such rows.
    StoppedError
        If ``stop`` said so.
    """
    _check(start, end, one.n_rows, "rows")
    total, seen, count = np.zeros(one.n_keys), np.zeros(one.n_keys, dtype=bool), 0
    for rows in stretches(slice(start, end), max(1, _BLOCK_CELLS // one.n_keys)):
        stop_if(stop)
        block = one.block(rows, slice(0, one.n_keys))
        visible = ~np.isnan(block)
        total += np.where(visible, block, 0).sum(0)
        seen |= visible.any(0)
        count += int(visible.any(1).sum())
    values = np.where(seen, total / max(1, count), np.nan).astype(np.float32)
    return Answer(values, end - start, end - start)


def column(one: Map, start: int, end: int, *, stop: Stop = never) -> Answer:
    """For each row the sum over keys ``[start, end)`` that it sees, ``[Q]``: who attends to these tokens.

    Raises
    ------
    InputError
        If there are no such keys.
    StoppedError
        If ``stop`` said so.
    """
    _check(start, end, one.n_keys, "keys")
    values = np.full(one.n_rows, np.nan, dtype=np.float32)
    for rows in stretches(slice(0, one.n_rows), max(1, _BLOCK_CELLS // (end - start))):
        stop_if(stop)
        block = one.block(rows, slice(start, end))
        hidden = np.isnan(block)
        values[rows] = np.where(hidden.all(1), np.nan, np.where(hidden, 0, block).sum(1))
    return Answer(values, one.n_rows, one.n_rows)


def thumbnail(one: Map, sinks: Sequence[int] = (), *, stop: Stop = never) -> Answer:
    """The map in at most 48 × 48 cells, the largest visible weight of each, sinks left out.

    Of a long map some rows of each line of cells are read, evenly spaced.

    Raises
    ------
    StoppedError
        If ``stop`` said so.
    """
    down, across = min(_THUMBNAIL, one.n_rows), min(_THUMBNAIL, one.n_keys)
    first = np.arange(down + 1) * one.n_rows // down
    left = np.arange(across) * one.n_keys // across
    values, read = np.empty((down, across), dtype=np.float32), 0
    for place in range(down):
        stop_if(stop)
        start, end = int(first[place]), int(first[place + 1])
        rows = slice(start, end, max(1, (end - start) * down // _THUMBNAIL_ROWS))
        block = hide(one.block(rows, slice(0, one.n_keys)), np.asarray(sinks, dtype=np.int64))
        values[place] = np.fmax.reduceat(np.fmax.reduce(block, 0), left)
        read += len(block)
    return Answer(values, read, one.n_rows)


def hide(block: Float[np.ndarray, "q t"], keys: np.ndarray) -> Float[np.ndarray, "q t"]:
    """The block with some keys hidden; a copy where there are any."""
    if len(keys):
        block = block.copy()
        block[:, keys] = np.nan
    return block


def _check(start: int, end: int, size: int, what: str) -> None:
    if not 0 <= start < end <= size:
        raise InputError(f"expected a stretch of {what} within [0, {size}), found [{start}, {end})")
