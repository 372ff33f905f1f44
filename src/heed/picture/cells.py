"""Cells of a coarse map: of each the largest visible weight, the sum of all, and how many there are.

Kept together because they are folded together, level by level, without loss: a mean of means would weigh the edge of a
map, and what a mask cuts, wrongly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from jaxtyping import Float

Aggregate = Literal["max", "mean"]

_NONE = -1.0
"""The maximum of a cell in which nothing is visible."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """``[r, c]`` cells in fp32: maximum, sum and number of the visible weights of each."""

    top: Float[np.ndarray, "r c"]
    total: Float[np.ndarray, "r c"]
    count: Float[np.ndarray, "r c"]

    @classmethod
    def of(cls, weights: Float[np.ndarray, "r c"]) -> Self:
        """Each weight a cell of its own; NaN is hidden."""
        hidden = np.isnan(weights)
        if not hidden.any():
            return cls(weights, weights, np.broadcast_to(np.float32(1), weights.shape))
        shown = np.where(hidden, np.float32(0), weights)
        return cls(np.where(hidden, np.float32(_NONE), weights), shown, (~hidden).astype(np.float32))

    @classmethod
    def hidden(cls, rows: int, columns: int) -> Self:
        """Cells in which nothing is visible; they take no memory."""
        none, zero = (np.broadcast_to(np.float32(value), (rows, columns)) for value in (_NONE, 0))
        return cls(none, zero, zero)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.base.nbytes if array.base is not None else array.nbytes for array in self._arrays())

    def values(self, aggregate: Aggregate) -> Float[np.ndarray, "r c"]:
        """The maximum of the cells, or the mean of what is visible in each; NaN where nothing is."""
        seen = self.count > 0
        found = self.top if aggregate == "max" else self.total / np.where(seen, self.count, 1)
        return np.where(seen, found, np.float32(np.nan)).astype(np.float32, copy=False)

    def folded(self, down: int, across: int) -> "Cells":
        """Cells of ``down × across`` of these each; the last of a line may be of fewer."""
        if down == across == 1:
            return self
        return Cells(
            _folded(self.top, down, across, np.maximum, _NONE),
            _folded(self.total, down, across, np.add, 0),
            self._counted(down, across),
        )

    def _counted(self, down: int, across: int) -> Float[np.ndarray, "r c"]:
        if any(self.count.strides) or not self.count.size:
            return _folded(self.count, down, across, np.add, 0)
        rows, columns = (
            np.minimum(each, size - np.arange(0, size, each, dtype=np.float32))
            for size, each in zip(self.count.shape, (down, across), strict=True)
        )
        counted: np.ndarray = rows[:, None] * columns * self.count[0, 0]
        return counted

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.top, self.total, self.count


def joined(parts: Sequence[Sequence[Cells]]) -> Cells:
    """Cells side by side, line after line."""
    if len(parts) == len(parts[0]) == 1:
        return parts[0][0]
    lines = [[part._arrays() for part in line] for line in parts]
    return Cells(*(np.concatenate([np.concatenate([p[i] for p in line], 1) for line in lines]) for i in range(3)))


def stretches(whole: slice, size: int) -> Iterator[slice]:
    """A slice, cut into slices of at most ``size`` positions, with its step."""
    for start in range(whole.start, whole.stop, size):
        yield slice(start, min(start + size, whole.stop), whole.step)


def _folded(values: np.ndarray, down: int, across: int, by: np.ufunc, nothing: float) -> np.ndarray:
    rows, columns = (-(-size // each) for size, each in zip(values.shape, (down, across), strict=True))
    missing = (rows * down - values.shape[0], columns * across - values.shape[1])
    if any(missing):
        values = np.pad(values, ((0, missing[0]), (0, missing[1])), constant_values=nothing)
    lines = by.reduce(values.reshape(rows, down, columns * across), 1)
    folded: np.ndarray = by.reduce(lines.reshape(rows, columns, across), 2)
    return folded
