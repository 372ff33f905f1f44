"""A whole map in at most so many cells, for a figure: exact where it fits, else the largest weight of each cell."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from heed.picture.pyramid import SIDE, Pyramid, TileAsk
from heed.text.attention import AttentionScene

MOST_CELLS = 1024
"""Cells along the longer side of a figure."""


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A map ``[r, c]``, NaN where nothing is visible; ``side`` tokens of either axis are one cell."""

    values: Float[np.ndarray, "r c"]
    side: int

    @property
    def says(self) -> str:
        """What a cell is."""
        return "exact" if self.side == 1 else f"largest of {self.side} × {self.side}"


def overview(scene: AttentionScene, *, most: int = MOST_CELLS) -> Overview:
    """The map of the open layer and head, whole.

    ``most`` is the number of cells along its longer side, at least 256. Of S tokens it costs S² weights of each head
    shown.
    """
    longest, level = max(scene.n_rows, len(scene.tokens)), 0
    while longest > max(most, SIDE) << level:
        level += 1
    pyramid = Pyramid(scene)
    down, across = (-(-count // (SIDE << level)) for count in (scene.n_rows, len(scene.tokens)))
    lines = [
        [pyramid.tile(TileAsk(scene.open_layer, scene.head, level, row, col)).values for col in range(across)]
        for row in range(down)
    ]
    return Overview(np.concatenate([np.concatenate(line, 1) for line in lines]), 1 << level)
