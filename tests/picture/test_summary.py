from dataclasses import replace

import numpy as np
import pytest

from attention_scene import attention_scene
from heed.errors import InputError
from heed.picture import show
from heed.picture.plain import plain
from heed.picture.summary import summary


@pytest.mark.parametrize("n", [1, 10, 63, 100])
def test_the_heaviest_tokens_of_a_row_are_marked(n):
    scene = attention_scene(n)
    found = summary(scene)
    weights = scene.maps.weights(1, -1, slice(n - 1, n), slice(0, n))[0]
    if n > 1:
        weights[0] = 0
    marks = found.passages[0].evidence
    assert marks.text == "".join(scene.tokens)
    assert marks.spans[0].weight == pytest.approx(weights.max(), abs=1e-6)
    starts = np.cumsum([0, *(len(token) for token in scene.tokens)])
    assert marks.spans[0].start == starts[int(weights.argmax())]
    assert plain(found)


def test_one_of_everything_is_said_in_the_singular():
    assert summary(attention_scene(1, layers=1, heads=1)).headline == "1 token, 1 layer × 1 head"
    assert summary(attention_scene(10)).headline == "10 tokens, 3 layers × 2 heads"
    for options in ({"layer": 7}, {"head": 7}):
        with pytest.raises(InputError, match=r"expected (layer|head) 0, the only one, found 7"):
            replace(attention_scene(1, layers=1, heads=1), **options)


def test_a_watermark_stands_above():
    found = summary(replace(attention_scene(), watermark="surrogate: tiny"))
    assert found.title.startswith("surrogate: tiny: ")


def test_rows_layers_and_heads_that_are_not_there():
    for options in ({"row": 10}, {"row": -11}, {"layer": 3}, {"head": 2}):
        with pytest.raises(InputError):
            summary(attention_scene(), **options)


def test_terminals_see_no_control_characters():
    text = show(attention_scene(63)).text()
    assert "\x1b" not in text
    assert "⟨RLM⟩" in text
