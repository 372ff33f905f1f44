import json

import numpy as np
import pytest

from attention_scene import attention_scene
from heed.errors import InputError
from heed.picture.viewer_scene import numbers, viewer_scene


@pytest.mark.parametrize("n", [1, 10, 63])
def test_maps_as_the_page_gets_them(n):
    scene = attention_scene(n)
    found = json.loads(json.dumps(viewer_scene(scene), allow_nan=False))
    assert (found["version"], found["n_rows"], found["n_keys"]) == (1, n, n)
    assert found["tokens"][:1] == ["<s>"]
    assert len(found["tokens"]) == n
    assert found["open"] == {"view": "map", "layer": 1, "head": -1}
    assert np.array(found["flow"]["mass"]).shape == (3, 2, 2, 2)
    assert np.array(found["statistics"][0]["values"]).shape == (3, 2)
    assert "layers" not in found["statistics"][0]


def test_with_some_layers_only_statistics_number_their_own():
    found = viewer_scene(attention_scene().only([2]))
    assert found["layers"] == [2]
    assert found["statistics"][0]["layers"] == [0, 1, 2]
    assert len(found["flow"]["mass"]) == 1


def test_marked_texts_as_the_page_gets_them(scene):
    found = json.loads(json.dumps(viewer_scene(scene), allow_nan=False))
    assert (found["kind"], found["tone"], found["risk"]) == ("verdict", "bad", {"value": 0.93, "threshold": 0.5})
    assert found["passages"][1]["marks"][0] == {"start": 30, "end": 62, "weight": 0.41}
    assert found["statistics"][0]["values"][1][1] is None
    assert found["layers"] == []


def test_numbers_that_cannot_be_drawn_are_refused(scene):
    from dataclasses import replace

    with pytest.raises(InputError, match="expected risk in"):
        viewer_scene(replace(scene, risk=(1.5, None)))


def test_numbers_are_short_and_nan_is_null():
    assert numbers(np.array([[1 / 3, np.nan], [1e-7 / 3, np.inf]])) == [[0.33333, None], [3.3333e-08, None]]
