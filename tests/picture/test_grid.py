from dataclasses import replace

import numpy as np
import pytest

from heed.picture.grid import colour, counting, layout, legend
from heed.text.evidence import HeadGrid


def grid(values, weights):
    return HeadGrid("heads", np.asarray(values, dtype=float), np.asarray(weights, dtype=float), "low", "high")


def lightness(hex_colour):
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colour_grows_lighter_and_clips():
    steps = [lightness(colour(v)) for v in np.linspace(0, 1, 21)]
    assert steps == sorted(steps)
    assert colour(-3) == colour(0) == "#00224e"
    assert colour(9) == colour(1) == "#fee838"


def test_layout_puts_layers_down_and_heads_across(scene):
    cells = layout(scene.heads).cells
    assert len(cells) == 6
    assert cells[0].y < cells[3].y
    assert cells[0].x < cells[1].x
    assert cells[2].says == "layer 0, head 2: 1.000, weight -0.6"
    assert cells[4].says == "layer 1, head 1: not read, does not count"
    assert cells[4].colour == ""


def test_layout_draws_heads_that_count_larger(scene):
    cells = layout(scene.heads).cells
    assert cells[2].width > cells[1].width
    assert [cell.counts for cell in cells] == counting(scene.heads).ravel().tolist()


@pytest.mark.parametrize("shape", [(1, 1), (30, 9), (32, 32), (80, 64)])
def test_layout_keeps_cells_inside_the_drawing(shape):
    drawn = layout(grid(np.zeros(shape), np.ones(shape)))
    assert all(c.x + c.width <= drawn.width and c.y + c.height <= drawn.height for c in drawn.cells)
    assert all(c.width > 0 and c.height > 0 for c in drawn.cells)


def test_legend_says_which_heads_count(scene):
    assert legend(scene.heads) == "Large, outlined: the 2 of 6 heads that count."
    assert legend(replace(scene.heads, weights=np.ones((2, 3)))) == "All 6 heads count."
    assert legend(replace(scene.heads, weights=np.full((2, 3), np.nan))).startswith("No head counts")
