"""Attention of others: what is attention is drawn, what is not is refused with its place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import InputError
from heed.picture.array import array_scene, check_array, load_array
from heed.text.attention import MEAN


def softmax(*shape: int, causal: bool = False) -> np.ndarray:
    logits = np.random.default_rng(0).normal(size=shape)
    if causal:
        logits = np.where(np.tril(np.ones(shape[-2:])) > 0, logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("shape", [(1, 1), (63, 63), (3, 63, 63), (2, 3, 100, 100)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_all_shapes_and_widths(shape, dtype):
    weights = softmax(*shape).astype(dtype)
    scene = array_scene(weights)
    batch, heads = ((1, 1, *shape)[-4], (1, 1, *shape)[-3])
    assert (scene.layers, scene.heads, scene.n_rows) == (tuple(range(batch)), tuple(range(heads)), shape[-1])
    one = scene.maps.weights(batch - 1, heads - 1, slice(0, shape[-1]), slice(0, shape[-1]))
    np.testing.assert_array_equal(one, weights.reshape(batch, heads, *shape[-2:])[-1, -1].astype(np.float32))
    mean = scene.maps.weights(0, MEAN, slice(0, 1), slice(0, 2))
    np.testing.assert_allclose(mean, weights.reshape(batch, heads, *shape[-2:])[0, :, :1, :2].mean(0), atol=1e-3)


def test_zeros_above_the_diagonal_are_hidden():
    scene = array_scene(softmax(5, 5, causal=True))
    start, end = scene.maps.visible(0)
    assert (start.tolist(), end.tolist()) == ([0] * 5, [1, 2, 3, 4, 5])
    assert np.isnan(scene.maps.weights(0, 0, slice(0, 1), slice(1, 5))).all()
    assert array_scene(softmax(5, 5)).maps.visible(0)[1].tolist() == [5] * 5


def test_rows_of_zeros_are_padding_and_said():
    weights = softmax(6, 6, causal=True)
    weights[4:] = 0
    assert array_scene(weights).notes == ("2 rows hold zeros only: they are taken for padding.",)
    weights[4] = np.eye(6)[4]
    assert array_scene(weights).notes == ("1 row holds zeros only: it is taken for padding.",)


def _changed(place, value):
    weights = softmax(2, 7, 7)
    weights[place] = value
    return weights


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (
            _changed((1, 3, 4), np.nan),
            "finite weights, found 1 that are not; the first is nan at batch 0, head 1, row 3",
        ),
        (_changed((1, 3, 4), np.inf), "the first is inf at batch 0, head 1, row 3, key 4"),
        (
            _changed((0, 2, 1), -0.5),
            "found 1 below 0, the first -0.5 at batch 0, head 0, row 2, key 1.*before the softmax",
        ),
        (_changed((1, 6, 0), 3.0), "found 1 of 14 that do not; the first sums to .* at batch 0, head 1, row 6"),
        (softmax(7, 7).T, "the columns do"),
        (softmax(5, 7), "as many rows as keys, found 5 rows and 7 keys"),
        (np.ones((1, 2, 3, 4, 4)), r"found float64 of shape \[1, 2, 3, 4, 4\]"),
        (np.ones(4), r"of shape \[4\]"),
        (np.zeros((0, 0)), r"of shape \[0, 0\]"),
        (np.array([["a"]]), "found <U1 of shape"),
        (np.eye(2, dtype=complex), "found complex128"),
        (np.array([[None]]), "found object"),
    ],
)
def test_what_is_no_attention_is_refused(weights, said):
    with pytest.raises(InputError, match=said):
        check_array(weights)


@pytest.mark.parametrize("tokens", [["a"], ["a", 3], []])
def test_tokens_must_be_of_the_same_text(tokens):
    with pytest.raises(InputError, match="expected 2 tokens as strings"):
        array_scene(np.eye(2), tokens)


def test_statistics_are_those_of_the_weights():
    weights = softmax(2, 3, 63, 63)
    found = {statistic.key: statistic.values for statistic in array_scene(weights).statistics}
    np.testing.assert_allclose(found["entropy"], -(weights * np.log(weights)).sum(-1).mean(-1), atol=1e-5)
    np.testing.assert_allclose(found["sink"], weights[:, :, 1:, 0].mean(-1), atol=1e-6)
    np.testing.assert_allclose(found["previous"], np.diagonal(weights, -1, 2, 3).mean(-1), atol=1e-6)
    assert [statistic.key for statistic in array_scene([[1.0]]).statistics] == ["entropy"]


def test_files(tmp_path):
    weights = softmax(4, 4)
    path = tmp_path / "a.npz"
    np.savez(path, attention=weights, tokens=np.array(["a", "\n", "\u200fש", "<script>"]))
    found, tokens = load_array(path)
    np.testing.assert_array_equal(found, weights)
    assert tokens == ["a", "\n", "\u200fש", "<script>"]
    np.savez(path, mine=weights)
    assert load_array(path)[1] is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": np.eye(2), "b": np.eye(2)}, "found a, b"),
        ({}, "found nothing"),
        ({"attention": np.eye(2), "tokens": np.eye(2)}, "one list of strings, found float64"),
        ({"attention": np.array([{}])}, "which cannot be read: Object arrays"),
    ],
)
def test_files_that_hold_something_else(tmp_path, content, said):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(InputError, match=said):
        load_array(tmp_path / "a.npz")


def test_files_that_are_no_archive(tmp_path):
    for name, content in (("a", b""), ("b", b"PK\x03\x04broken"), ("c", b"text")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            load_array(tmp_path / name)
    np.save(tmp_path / "d.npy", np.eye(2))
    with pytest.raises(InputError, match="found a single array"):
        load_array(tmp_path / "d.npy")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=6))
def test_any_tokens_can_be_shown(tokens):
    from heed.picture import show

    picture = show(array_scene(np.tril(np.ones((len(tokens),) * 2)) / np.arange(1, len(tokens) + 1)[:, None], tokens))
    assert "\x1b" not in picture.text()
    page = picture.html()
    assert page.count("<script") == 3
    assert page.encode()
