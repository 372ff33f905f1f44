"""The head grid as geometry: where each layer and head is drawn, in which colour, with what said on hover.

Comes in: a `HeadGrid`. Goes out: cells and axis labels in drawing units. Knows no file format.
"""

import math
from dataclasses import dataclass

import numpy as np

from heed.text.evidence import HeadGrid

MARGIN_LEFT, MARGIN_TOP = 34, 20
"""Room for the axis labels, in drawing units (CSS pixels at natural size)."""

_CIVIDIS = np.array(
    [
        (0, 34, 78),
        (18, 53, 112),
        (59, 73, 108),
        (87, 93, 109),
        (112, 113, 115),
        (138, 134, 120),
        (165, 156, 116),
        (195, 179, 105),
        (225, 204, 85),
        (254, 232, 56),
    ]
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One head: its rectangle, its colour (empty where nothing was read) and what it says on hover."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    counts: bool
    says: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawn head grid: layers down, heads across."""

    width: float
    height: float
    cells: tuple[Cell, ...]
    layers: tuple[tuple[float, int], ...]
    """Height of the middle of a labelled row, and its layer."""
    heads: tuple[tuple[float, int], ...]
    """Distance from the left of the middle of a labelled column, and its head."""


def colour(value: float) -> str:
    """Colour of a value in [0, 1] on the cividis scale, as ``#rrggbb``; values outside are clipped.

    Cividis reads the same with and without red-green colour blindness and grows evenly in lightness.
    """
    at = np.linspace(0, 1, len(_CIVIDIS))
    red, green, blue = (round(float(np.interp(value, at, _CIVIDIS[:, channel]))) for channel in range(3))
    return f"#{red:02x}{green:02x}{blue:02x}"


def layout(grid: HeadGrid) -> Layout:
    """Place the cells of a grid; cells of heads that do not count are drawn smaller."""
    rows, columns = grid.values.shape
    wide = min(30.0, max(11.0, math.floor(270 / columns)))
    high = min(14.0, max(9.0, math.floor(420 / rows)))
    counts = counting(grid)
    cells = tuple(
        _cell(grid, layer, head, wide=wide, high=high, counts=bool(counts[layer, head]))
        for layer in range(rows)
        for head in range(columns)
    )
    return Layout(
        width=MARGIN_LEFT + columns * wide + 2,
        height=MARGIN_TOP + rows * high + 2,
        cells=cells,
        layers=tuple((MARGIN_TOP + (i + 0.5) * high, i) for i in range(0, rows, 5 if rows > 12 else 2)),
        heads=tuple((MARGIN_LEFT + (i + 0.5) * wide, i) for i in range(0, columns, _step(columns))),
    )


def counting(grid: HeadGrid) -> np.ndarray:
    """Which heads the result rests on, ``[L, H]`` of bool."""
    return np.asarray(np.nan_to_num(grid.weights) != 0)


def legend(grid: HeadGrid) -> str:
    """How to read the sizes of the cells, in a sentence."""
    counts = counting(grid)
    if counts.all():
        return "The one head counts." if counts.size == 1 else f"All {counts.size} heads count."
    if not counts.any():
        return "No head counts: nothing here decided the result."
    return f"Large, outlined: the {counts.sum()} of {counts.size} heads that count."


def _step(columns: int) -> int:
    return 1 if columns <= 12 else 4 if columns <= 32 else 8


def _cell(grid: HeadGrid, layer: int, head: int, *, wide: float, high: float, counts: bool) -> Cell:
    value, weight = float(grid.values[layer, head]), float(grid.weights[layer, head])
    inset_x, inset_y = (1.0, 1.0) if counts else (wide * 0.24, high * 0.24)
    read = "not read" if math.isnan(value) else f"{value:.3f}"
    return Cell(
        x=MARGIN_LEFT + head * wide + inset_x,
        y=MARGIN_TOP + layer * high + inset_y,
        width=wide - 2 * inset_x,
        height=high - 2 * inset_y,
        colour="" if math.isnan(value) else colour(value),
        counts=counts,
        says=f"layer {layer}, head {head}: {read}" + (f", weight {weight:+.3g}" if counts else ", does not count"),
    )
