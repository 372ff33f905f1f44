import json
import re

import numpy as np
import pytest

from heed.errors import InputError
from heed.picture import show, synthetic
from heed.picture.synthetic import PATTERNS


@pytest.mark.parametrize("name", [*PATTERNS, "all"])
@pytest.mark.parametrize("n", [1, 63, 100])
def test_patterns_are_causal_attention(name, n):
    scene = synthetic(name, n)
    for head in scene.heads:
        weights = scene.maps.weights(0, head, slice(0, n), slice(0, n))
        np.testing.assert_allclose(np.nansum(weights, -1), 1, atol=1e-5)
        np.testing.assert_array_equal(np.isnan(weights), np.triu(np.ones((n, n), dtype=bool), 1))
    assert len(scene.heads) == (len(PATTERNS) if name == "all" else 1)


def test_every_export_is_marked(tmp_path):
    picture = show(synthetic("previous", 12))
    assert "SYNTHETIC" in picture.text()
    scene = json.loads(re.search(r'id="heed-scene">(.*?)</script>', picture.html()).group(1))
    assert (scene["watermark"], scene["kind"]) == ("SYNTHETIC", "synthetic")
    assert "SYNTHETIC" in re.search(r"<noscript>(.*?)</noscript>", picture.html(), re.S).group(1)
    for kind in ("map", "heads", "entropy", "focus"):
        assert "SYNTHETIC" in [text.get_text() for text in picture.figure(kind).texts]


@pytest.mark.parametrize(("name", "n"), [("nobody", 5), ("sink", 0), ("sink", 2049)])
def test_what_there_is_not(name, n):
    with pytest.raises(InputError):
        synthetic(name, n)
