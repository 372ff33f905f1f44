"""A trace as a picture: exact weights on demand, factors that give them again, and honest sentences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import heed
from heed.attention.mask import Mask
from heed.attention.score import DotScore
from heed.attention.terms import Terms
from heed.errors import InputError
from heed.probe import Trace
from heed.probe.view import LayerKey, LayerView
from heed.text.attention import MEAN
from tiny import keen_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return keen_model(tmp_path_factory.mktemp("model") / "keen")


@pytest.fixture(scope="module")
def trace(model):
    return heed.trace(model, [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why? 😀"}])


@pytest.fixture(scope="module")
def scene(trace):
    return trace.scene()


def test_weights_are_the_traces_and_hidden_ones_are_nan(trace, scene):
    n = len(trace.ids)
    for layer, view in enumerate(trace.views.values()):
        dense = view.rows(slice(None))[0].numpy()
        hidden = np.triu(np.ones((n, n), dtype=bool), 1)
        for head in range(2):
            got = scene.maps.weights(layer, head, slice(3, n, 2), slice(1, 9))
            np.testing.assert_array_equal(np.isnan(got), hidden[3::2, 1:9])
            np.testing.assert_allclose(np.nan_to_num(got), dense[head, 3::2, 1:9], atol=1e-5)
        mean = scene.maps.weights(layer, MEAN, slice(0, n), slice(0, n))
        np.testing.assert_allclose(np.nan_to_num(mean), dense.mean(0), atol=1e-5)


def test_factors_give_the_weights_again_and_say_how_far_they_were_rounded(trace, scene):
    n = len(trace.ids)
    exact = trace.layer(1).rows(slice(None))[0].numpy()
    for store, most in (("float32", 1e-5), ("float16", 0.02), ("bfloat16", 0.2)):
        factors = scene.maps.factors(1, store)
        k = factors.k[list(factors.group)]
        again = np.exp(factors.scale * factors.q @ k.transpose(0, 2, 1) - factors.lse[..., None])
        again = np.where(np.tril(np.ones((n, n))) > 0, again, 0)
        np.testing.assert_allclose(again.sum(-1), 1, atol=1e-5)
        assert np.abs(again - exact).max() <= most
        assert factors.error <= most
        assert (factors.error == 0) == (store == "float32")


def test_rules_that_are_no_dot_product_have_no_factors():
    q = torch.randn(1, 2, 5, 4)
    for terms in (
        Terms(DotScore(1.0), Mask.causal(5, 5), bias=torch.zeros(1, 1, 5, 5)),
        Terms(DotScore(1.0), replace(Mask.causal(5, 5), dense=torch.eye(5).bool()[None])),
    ):
        view = LayerView(LayerKey("decoder", 0), q, q, terms)
        assert view.scene().maps.factors(0, "float32") is None


def test_the_scene_names_tokens_spans_and_what_was_measured(trace, scene):
    assert "".join(scene.tokens) == trace.prompt.text
    assert [span.name for span in scene.spans] == ["system", "user"]
    assert scene.special == (0, 17, 19, 34, 36)
    assert {statistic.key for statistic in scene.statistics} == {
        "entropy",
        "sink",
        "previous",
        "induction",
        "instruction",
    }
    assert scene.flow.mass.shape == (2, 2, 2, 2)
    assert scene.exactness.startswith("exact: recomputed from q, k")
    assert dict(scene.facts)["tokens"] == str(len(trace.ids))


def test_a_saved_trace_is_the_same_picture(trace, scene, tmp_path):
    trace.save(tmp_path / "a.safetensors")
    again = Trace.load(tmp_path / "a.safetensors").scene()
    assert (again.tokens, again.spans, again.special) == (scene.tokens, scene.spans, scene.special)
    assert again.maps.identity == scene.maps.identity


def test_generated_tokens_are_the_answer(model):
    trace = heed.trace(model, "Why?", new_tokens=3)
    scene = trace.scene()
    assert len(scene.tokens) == len(trace.ids) > 4
    assert (scene.spans[-1].name, scene.spans[-1].start) == ("answer", 4)


def test_ids_without_a_tokenizer_are_numbered(model):
    bare = heed.wrap(model.hf)
    assert heed.trace(bare, [5, 6, 7]).scene().tokens == ("#5", "#6", "#7")


def test_sixteen_bits_say_so(trace):
    view = trace.layer(0)
    low = replace(view, q=view.q.bfloat16(), k=view.k.bfloat16(), lse_of_rows=None)
    scene = low.scene([str(i) for i in range(low.n_keys)])
    assert scene.exactness == "exact: recomputed in float32 from the model's own bfloat16 q and k"
    assert scene.maps.factors(0, "bfloat16").error == 0


@pytest.mark.parametrize(
    ("options", "said"), [({"layer": 9}, "a layer among 0, 1"), ({"head": 9}, "a head among 0, 1")]
)
def test_what_is_not_there_is_refused(trace, options, said):
    with pytest.raises(InputError, match=said):
        trace.scene(**options)


def test_layers_that_can_be_opened_are_chosen_and_numbers_are_kept_of_all(trace):
    scene = trace.scene(layers=[1])
    assert (scene.layers, scene.statistics[0].layers) == ((1,), (0, 1))
    with pytest.raises(InputError, match=r"layers among 0, 1, found \[4\]"):
        trace.scene(layers=[4])
    with pytest.raises(InputError, match="found decoder cross"):
        trace.scene(kind="cross")


def test_a_view_of_several_prompts_or_with_other_tokens_is_refused(trace):
    view = trace.layer(0)
    with pytest.raises(InputError, match="one for each key, found 1"):
        view.scene(["a"])
    q = torch.randn(2, 2, 5, 4)
    with pytest.raises(InputError, match="layers of one prompt"):
        LayerView(LayerKey("decoder", 0), q, q, Terms(DotScore(1.0), Mask.causal(5, 5))).scene()
