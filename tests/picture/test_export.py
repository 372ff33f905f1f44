"""Numbers inside a page: read back byte by byte, as docs/viewer.md says, they are the weights again."""

import base64
import json
import re

import numpy as np
import pytest

import heed
from attention_scene import attention_scene
from heed.errors import InputError
from heed.picture import export, show
from heed.picture.export import embedded
from heed.picture.viewer_page import script_json
from tiny import keen_model


def _read(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def _numbers(text: str, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (_read(text, "<u2").astype(np.uint32) << 16).view(np.float32)
    return _read(text, {"float32": "<f4", "float16": "<f2", "half": "<f2"}[dtype]).astype(np.float32)


def unpacked(layer: dict, n_rows: int, n_keys: int, heads: int) -> np.ndarray:
    """Maps of one layer as the page would compute them."""
    start, end = np.zeros(n_rows, int), np.minimum(np.arange(n_rows) + 1, n_keys)
    if layer["mask"]["kind"] == "full":
        end = np.full(n_rows, n_keys)
    if layer["mask"]["kind"] == "intervals":
        start, end = _read(layer["mask"]["start"], "<i4"), _read(layer["mask"]["end"], "<i4")
    keys = np.arange(n_keys)
    held = (keys >= start[:, None]) & (keys < end[:, None])
    if layer["form"] == "weights":
        numbers = _numbers(layer["weights"], layer["dtype"]).reshape(heads, -1)
        maps = np.full((heads, n_rows, n_keys), np.nan, np.float32)
        maps[:, held] = numbers / (1 if layer["dtype"] == "float32" else 32768)
        return maps
    q = _numbers(layer["q"], layer["dtype"]).reshape(heads, n_rows, layer["width"])
    k = _numbers(layer["k"], layer["dtype"]).reshape(-1, n_keys, layer["width"])[layer["kv"]]
    logits = layer["scale"] * q @ k.transpose(0, 2, 1)
    if layer["softcap"] is not None:
        logits = layer["softcap"] * np.tanh(logits / layer["softcap"])
    weights = np.exp(logits - _read(layer["lse"], "<f4").reshape(heads, n_rows, 1))
    return np.where(held, weights, np.nan)


def exact(scene, layer: int) -> np.ndarray:
    whole = slice(0, scene.n_rows), slice(0, len(scene.tokens))
    return np.stack([scene.maps.weights(layer, head, *whole) for head in scene.heads])


@pytest.mark.parametrize("n", [1, 63, 100])
@pytest.mark.parametrize("precision", ["full", "half"])
def test_weights_come_back(n, precision):
    scene = attention_scene(n)
    found = embedded(scene, precision=precision)
    for layer in scene.layers:
        maps = unpacked(found.data["layers"][str(layer)], n, n, 2)
        np.testing.assert_allclose(maps, exact(scene, layer), rtol=0 if precision == "full" else 5e-4, atol=1e-9)
    assert ("16 bits" in found.scene.exactness) == (precision == "half")


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    return heed.trace(keen_model(tmp_path_factory.mktemp("model") / "keen"), "The cat sat on a mat. " * 20)


@pytest.mark.parametrize("precision", ["full", "half", "auto"])
def test_factors_come_back(trace, precision):
    scene = trace.scene(layers=[1])
    found = embedded(scene, precision=precision)
    layer = found.data["layers"]["1"]
    assert layer["form"] == "factors"
    maps = unpacked(layer, scene.n_rows, len(scene.tokens), 2)
    np.testing.assert_allclose(maps, exact(scene, 1), atol=1e-5 if precision != "half" else export.INVISIBLE * 2)
    assert ("rounded to float16" in found.scene.exactness) == (precision == "half" and layer["dtype"] == "float16")


def test_rounding_that_could_be_seen_is_not_done(trace, monkeypatch):
    monkeypatch.setattr(export, "INVISIBLE", 0.0)
    found = embedded(trace.scene(), precision="half")
    assert {layer["dtype"] for layer in found.data["layers"].values()} <= {"float32", "half"}


def test_layers_that_are_too_much_are_left_out_and_told(trace, monkeypatch):
    monkeypatch.setattr(export, "MOST_BYTES", 60_000)
    found = embedded(trace.scene(layer=1))
    assert list(found.data["layers"]) == ["1"]
    assert found.scene.notes == ("This page holds layer 1 of 2: all of them would be too large.",)
    monkeypatch.setattr(export, "LARGEST", 1000)
    with pytest.raises(InputError, match="at most 0 MB for a page"):
        embedded(trace.scene())


def test_a_full_and_an_interval_mask():
    from dataclasses import replace

    from heed.picture.array import ArrayMaps, array_scene

    full = array_scene(np.full((5, 5), 0.2))
    assert embedded(full).data["layers"]["0"]["mask"] == {"kind": "full"}
    banded = np.where(np.tri(9, k=0) - np.tri(9, k=-3) > 0, 1.0, np.nan)
    banded /= np.nansum(banded, -1, keepdims=True)
    scene = replace(array_scene(np.eye(9)), maps=ArrayMaps(banded[None, None].astype(np.float32)))
    layer = embedded(scene, precision="full").data["layers"]["0"]
    assert layer["mask"]["kind"] == "intervals"
    np.testing.assert_array_equal(unpacked(layer, 9, 9, 1)[0], banded.astype(np.float32))


def _page(scene) -> str:
    return show(scene).html()


def test_the_page_fetches_nothing_and_runs_its_own_script_alone():
    page = _page(attention_scene(63))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy
    assert "//" not in re.sub(r'<script type="module">.*?</script>', "", page, flags=re.S)
    assert page.count("<script") == page.count("</script>") == 3


def test_texts_cannot_leave_their_element():
    page = _page(attention_scene(10))
    scene = json.loads(re.search(r'id="heed-scene">(.*?)</script>', page).group(1))
    assert scene["tokens"][1] == "</script>"
    assert "<title>Attention &lt;of&gt; a model</title>" in page
    assert "<!--" not in script_json(["<!--", "</script>"])
    assert "\x1b" not in page


def test_sizes_that_were_promised():
    """64 tokens, 30 layers of 9 heads below 2 MB; 1,024 tokens, one such layer below 15 MB: a model of that shape."""
    assert len(_page(attention_scene(64, layers=30, heads=9))) < 2_000_000
    assert 12_000_000 < len(_page(attention_scene(1024, layers=1, heads=9))) < 15_000_000  # 2 bytes a weight, in base64
