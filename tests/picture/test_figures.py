"""Figures: every kind of every thing, texts taken as they are, and nothing left behind."""

import gc
import weakref
from dataclasses import dataclass, replace

import numpy as np
import pytest
from matplotlib.figure import Figure

import heed
from attention_scene import attention_scene
from heed.errors import InputError
from heed.picture import show
from heed.picture.figures import draw, image
from heed.picture.overview import overview


@dataclass
class Judged:
    labels: np.ndarray
    ranks: np.ndarray
    scores: np.ndarray


@pytest.fixture
def judged() -> Judged:
    labels = np.array([0, 1] * 50)
    scores = np.clip(labels * 0.4 + np.random.default_rng(0).random(100) * 0.6, 0, 1)
    scores[3] = np.nan
    return Judged(labels, np.nan_to_num(scores), scores)


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")))


def test_an_image_is_a_png():
    assert show(attention_scene(10)).png().startswith(b"\x89PNG")


@pytest.mark.parametrize("n", [1, 10, 63])
@pytest.mark.parametrize("kind", ["map", "heads", "entropy", "focus", "flow"])
def test_kinds_of_maps(n, kind):
    scene = attention_scene(n)
    if kind == "heads" and n == 1:
        with pytest.raises(InputError, match="a statistic of every head"):
            heed.figure(scene, kind=kind)
        return
    assert heed.figure(scene, kind=kind).axes


def test_kinds_of_verdicts_and_of_judged_rows(scene, judged):
    assert "20.0%" in texts(heed.figure(scene))
    assert "Attention kept on the instruction" in texts(heed.figure(scene, kind="heads"))
    assert "AUROC" in texts(heed.figure(judged))
    assert "Risk of 99 judged rows" in texts(heed.figure(judged, kind="focus"))


def test_an_evaluation_is_drawn_by_what_it_judged(judged):
    @dataclass
    class Evaluation:
        judged: Judged

    assert "ROC curve (50 attacks, 50 benign rows)" in texts(heed.figure(Evaluation(judged)))


@pytest.mark.parametrize("kind", ["roc", "nothing"])
def test_a_kind_that_is_not_of_this(scene, kind):
    with pytest.raises(InputError, match="expected one of map, heads, entropy, focus, flow for this"):
        heed.figure(attention_scene(), kind=kind)
    with pytest.raises(InputError, match="expected one of evidence, heads for this"):
        heed.figure(scene, kind=kind)


def test_bars_carry_their_values_and_the_sink_does_not_drown_the_rest():
    scene = attention_scene(10)
    means = next(one for one in scene.statistics if one.key == "entropy").values.mean(1)
    assert all(f"{value:.2f}" in texts(heed.figure(scene, kind="entropy")) for value in means)
    values = overview(scene).values
    assert heed.figure(scene).axes[0].images[0].get_clim()[1] == pytest.approx(np.nanmax(values[:, 1:]))


def test_texts_are_neither_mathematics_nor_unknown_glyphs():
    figure = draw(replace(attention_scene(10), title=r"a $\broken{$ title"))
    assert image(figure, "png")  # Matplotlib raises on mathematics it cannot read
    shown = [text for text in figure.findobj(lambda one: hasattr(one, "get_parse_math")) if "$" in text.get_text()]
    assert len(shown) > 2
    assert not any(text.get_parse_math() for text in shown if text.get_visible())
    assert "□" in texts(figure)


def test_the_same_scene_gives_the_same_bytes(tmp_path):
    first, second = (show(attention_scene(4)).svg(tmp_path / "a.svg", kind="focus") for _ in range(2))
    assert first == second == (tmp_path / "a.svg").read_bytes()


def test_a_long_map_is_aggregated_and_says_so():
    scene = attention_scene(600, layers=1, heads=1)
    found = overview(scene, most=300)
    assert (found.side, found.values.shape, found.says) == (2, (300, 300), "largest of 2 × 2")
    whole = scene.maps.weights(0, -1, slice(0, 600), slice(0, 600))
    want = np.fmax.reduce(np.fmax.reduce(whole.reshape(300, 2, 300, 2), 3), 1)
    np.testing.assert_allclose(found.values, want)
    assert overview(scene).side == 1


def test_figures_go_away_with_their_last_name(monkeypatch):
    """Nothing holds on to them: neither pyplot nor a cache. 500 of them: benchmarks/figures_leave_nothing.py."""
    import matplotlib

    held = [weakref.ref(draw(attention_scene(10), kind=kind)) for kind in ("map", "heads", "entropy")]
    gc.collect()
    assert [one() for one in held] == [None] * 3
    pyplot = matplotlib.__dict__.get("pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(heed.HeedError, match=r"pip install 'heed\[figures\]'"):
        heed.figure(attention_scene())
