"""The names heed_l1 … on every family: the masks, caches and extras of transformers, and readings of such models.

`heed_dot` computes what the model itself computes, by the code that every other metric uses: where it equals eager
attention, masks, grouped heads, windows, sinks and position biases are right. What a distance is, is then checked on q
and k of a reading, by formulas written down here once more in fp64.
"""

import threading
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from families import FAMILIES, Family
from torch import Tensor

import heed
from heed.attention.dot import fused
from heed.attention.mask import Mask
from heed.attention.score import DistanceScore, DotScore
from heed.attention.terms import Terms
from heed.errors import InputError, UnsupportedModelError
from heed.interface import mechanism
from heed.interface.distance import IMPLEMENTATIONS
from heed.model import Model, wrap
from heed.probe import LastRow, Received, Trace, check, read, trace
from heed.probe.layers import layers_of
from heed.text.encode import Encoded

EXACT = 1e-5
UNCAPPED = [f for f in FAMILIES if f.name != "gemma2"]
FEW = [f for f in FAMILIES if f.name in {"llama", "gpt2", "qwen2", "mistral", "gpt_oss", "deepseek_v3", "t5", "bert"}]
DECODERS = [f for f in FEW if f.causal and not f.encoder_decoder]


@cache
def built(name: str) -> Any:
    heed.register_attention()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next(f for f in FAMILIES if f.name == name).build()


def model_of(name: str, implementation: str) -> Any:
    hf = built(name)
    hf.set_attn_implementation(implementation)
    return hf


def ids_of(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(3, 60, shape))


def prompt(length: int, seed: int = 1) -> Encoded:
    ids = ids_of(length, seed=seed).numpy()
    return Encoded(ids=ids, offsets=np.zeros((length, 2), dtype=np.int64), text="")


def family(name: str) -> Family:
    return next(f for f in FAMILIES if f.name == name)


@pytest.mark.parametrize("side", ["left", "right", "middle"])
@pytest.mark.parametrize("family", UNCAPPED, ids=lambda f: f.name)
def test_the_dot_product_by_name_is_the_models_own(family: Family, side: str) -> None:
    """Two prompts of different lengths, longer than every window: real rows equal eager attention."""
    ids, real = ids_of(2, 23), torch.ones(2, 23, dtype=torch.int64)
    real[0, {"left": slice(0, 8), "right": slice(15, 23), "middle": slice(8, 11)}[side]] = 0
    arguments: dict[str, Any] = {"attention_mask": real}
    if family.encoder_decoder:
        arguments["decoder_input_ids"] = ids_of(2, 9, seed=2)
    with torch.no_grad():
        want = model_of(family.name, "eager")(ids, **arguments)[0]
        got = model_of(family.name, "heed_dot")(ids, **arguments)[0]
    rows = torch.ones(2, 9, dtype=torch.bool) if family.encoder_decoder else real.bool()
    torch.testing.assert_close(got[rows], want[rows], rtol=1e-4, atol=2e-6 * max(1.0, float(want.abs().max())))


@pytest.mark.parametrize("kind", ["dynamic", "static"])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "gpt_oss", "bart"])
def test_generation_with_a_cache_is_the_models_own(name: str, kind: str) -> None:
    """Left-padded prompts, greedy tokens, past every window."""
    ids, real = ids_of(2, 9), torch.ones(2, 9, dtype=torch.int64)
    real[1, :4] = 0
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "num_beams": 1}
    if kind == "static":
        settings |= {"cache_implementation": "static", "disable_compile": True}
    want = model_of(name, "eager").generate(ids, attention_mask=real, **settings)
    got = model_of(name, "heed_dot").generate(ids, attention_mask=real, **settings)
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize("metric", ["l1", "l21"])
@pytest.mark.parametrize("family", DECODERS, ids=lambda f: f.name)
def test_decoding_step_by_step_is_the_whole_pass(family: Family, metric: str) -> None:
    hf, ids = model_of(family.name, f"heed_{metric}"), ids_of(2, 17)
    with torch.no_grad():
        whole = hf(ids, use_cache=False).logits
        out = hf(ids[:, :9], use_cache=True)
        steps = [out.logits]
        for at in range(9, 17):
            out = hf(ids[:, at : at + 1], past_key_values=out.past_key_values, use_cache=True)
            steps.append(out.logits)
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", [name for name in IMPLEMENTATIONS.values() if name != "lp"])
def test_a_static_cache_decodes_what_a_dynamic_one_does(metric: str) -> None:
    hf, ids = model_of("llama", f"heed_{metric}"), ids_of(2, 9)
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    plain = hf.generate(ids, **settings)
    static = hf.generate(ids, **settings, cache_implementation="static", disable_compile=True)
    assert static.tolist() == plain.tolist()


def by_hand(metric: str, q: Tensor, k: Tensor) -> Tensor:
    """Distances in fp64, ``[B, H, Q, T]``."""
    k = k.double().repeat_interleave(q.shape[1] // k.shape[1], 1)
    q = q.double()
    delta = (q[:, :, :, None] - k[:, :, None]).abs()
    pairs = delta.unflatten(-1, (2, -1)).square().sum(-2).sqrt()
    return {
        "l1": lambda: delta.sum(-1),
        "l2": lambda: delta.square().sum(-1).sqrt(),
        "sqeuclidean": lambda: delta.square().sum(-1),
        "chebyshev": lambda: delta.amax(-1),
        "l21": lambda: pairs.sum(-1),
        "linf2": lambda: pairs.amax(-1),
        "cosine": lambda: 1 - torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(k, dim=-1).mT,
        "lp": lambda: (delta**3).sum(-1) ** (1 / 3),
    }[metric]()


CONSTANT = {"l1": 0.75, "l2": 0.25, "sqeuclidean": 0.03, "chebyshev": 0.9, "l21": 0.5, "linf2": 1.1, "cosine": 6.0,
            "lp": 1.5}  # fmt: skip


@pytest.mark.parametrize("metric", list(CONSTANT))
@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2"])
def test_read_rows_are_the_distances_of_the_formula(name: str, metric: str) -> None:
    """Learned λ for each head; every row of every layer, from q and k as the layer handed them over."""
    hf = family(name).build()
    p = 3.0 if metric == "lp" else None
    heed.install(hf, metric, p=p, learnable=True, scale=CONSTANT[metric])
    factors = torch.tensor([0.5, 1.0, 2.0, 3.0])
    for layer, log_lambda in enumerate(p for n, p in hf.named_parameters() if "log_lambda" in n):
        log_lambda.data.copy_((factors * (1 + layer)).log())
    kept = trace(wrap(hf), prompt(63))
    hidden = torch.ones(63, 63, dtype=torch.bool).triu(1)
    for key in kept.layers:
        view = kept.views[key]
        strength = (factors.double() * (1 + key.index) * CONSTANT[metric]).view(-1, 1, 1)
        logits = (-strength * by_hand(metric, view.q, view.k)).masked_fill(hidden, -torch.inf)
        assert float((view.rows(slice(None)) - logits.softmax(-1)).abs().max()) < EXACT


@pytest.mark.parametrize("metric", ["l1", "cosine", "linf2"])
@pytest.mark.parametrize("family", FEW, ids=lambda f: f.name)
def test_a_reading_is_what_the_model_attends_to(family: Family, metric: str) -> None:
    """Against the weights that the attention itself reports, by its reference path, in every layer."""
    report = check(wrap(model_of(family.name, f"heed_{metric}")))
    assert report.exact
    assert report.error < EXACT


def test_bfloat16_readings_are_at_most_twice_as_wrong_as_plain_bfloat16() -> None:
    hf = family("llama").build(torch.bfloat16)
    heed.install(hf, "l2", learnable=True)
    report = check(wrap(hf), tokens=63)
    assert 0 < report.error <= report.tolerance


@pytest.mark.parametrize("family", DECODERS, ids=lambda f: f.name)
def test_streamed_equals_after_the_fact_and_survives_a_file(family: Family, tmp_path: Any) -> None:
    model, text = wrap(model_of(family.name, "heed_l1")), prompt(29)
    kept = trace(model, text)
    kept.save(tmp_path / "t.safetensors")
    again = Trace.load(tmp_path / "t.safetensors")
    streamed = read(model, [text], {"in": Received(), "row": LastRow()})
    for name, probe in (("in", Received()), ("row", LastRow())):
        np.testing.assert_allclose(streamed.stack(name)[0], kept.ask(probe), atol=1e-5)
    for key in kept.layers:
        assert isinstance(again.views[key].terms.rule, DistanceScore)
        assert again.views[key].terms.rule == kept.views[key].terms.rule
        assert torch.equal(again.views[key].rows(slice(None)), kept.views[key].rows(slice(None)))


def test_generated_tokens_are_read_and_padding_is_empty() -> None:
    model = wrap(model_of("llama", "heed_l2"))
    alone = read(model, [prompt(9)], {"row": LastRow()}, new_tokens=4)
    kept = trace(model, prompt(9), new_tokens=4)
    for step in range(1, 4):
        for index, key in enumerate(kept.layers):
            row = kept.views[key].rows(8 + step)[0, :, 0, : 9 + step]
            np.testing.assert_allclose(alone.stack("row", step)[0, index], row.numpy(), atol=2e-6)
    texts = [prompt(9), prompt(20, seed=2)]
    for padding in ("left", "right"):
        beside = read(model, texts, {"in": Received()}, padding=padding).stack("in")[0]
        real = slice(11, 20) if padding == "left" else slice(0, 9)
        np.testing.assert_allclose(beside[..., real], read(model, [prompt(9)], {"in": Received()}).stack("in")[0],
                                   atol=2e-5)  # fmt: skip
        assert beside.sum() == pytest.approx(9 * beside.shape[0] * beside.shape[1], rel=1e-5)


def test_reading_leaves_the_model_as_it_was() -> None:
    hf = model_of("llama", "heed_l1")
    with torch.no_grad():
        before = hf(ids_of(1, 13)).logits
    read(wrap(hf), [prompt(13)], {"row": LastRow()}, layers=[layers_of(wrap(hf)).keys[0]])
    check(wrap(hf))
    assert hf.config._attn_implementation == "heed_l1"
    with torch.no_grad():
        assert torch.equal(hf(ids_of(1, 13)).logits, before)


def test_another_thread_keeps_its_distance_while_the_model_is_read() -> None:
    """Were the model switched to heed's reading name, that thread would attend by dot products, in silence."""
    hf = model_of("llama", "heed_l1")
    with torch.no_grad():
        want = hf(ids_of(1, 13)).logits
    got = {}

    class Meanwhile:
        def __call__(self, view: Any, moment: Any) -> Tensor:
            def run() -> None:
                with torch.no_grad():
                    got["logits"] = hf(ids_of(1, 13)).logits

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            return LastRow()(view, moment)

    read(wrap(hf), [prompt(9)], {"row": Meanwhile()})
    assert torch.equal(got["logits"], want)


@pytest.mark.parametrize("family", DECODERS, ids=lambda f: f.name)
def test_masks_stay_linear_in_the_length(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts of 200 tokens, one of them padded: no layer is handed a dense mask."""
    hf, handed = model_of(family.name, "heed_l1"), []
    own = mechanism.distance_attention

    def spy(*tensors: Tensor, **options: Any) -> Any:
        handed.append(options)
        return own(*tensors, **options)

    monkeypatch.setattr(mechanism, "distance_attention", spy)
    real = torch.ones(2, 200, dtype=torch.int64)
    real[0, :50] = 0
    with torch.no_grad():
        hf(ids_of(2, 200), attention_mask=real)
    assert len(handed) == 2
    assert all(options["attn_mask"] is None for options in handed)
    assert all(options["is_causal"] for options in handed)


def test_a_mask_of_the_callers_own_is_taken() -> None:
    hf, ids = model_of("llama", "heed_l1"), ids_of(2, 13)
    causal = torch.ones(13, 13, dtype=torch.bool).tril().expand(2, 1, -1, -1)
    added = torch.zeros(2, 1, 13, 13).masked_fill(~causal, torch.finfo(torch.float32).min)
    with torch.no_grad():
        want = hf(ids).logits
        for mask in (causal, added):
            torch.testing.assert_close(hf(ids, attention_mask=mask).logits, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        UnsupportedModelError, match=r"expected a mask \[B, 1, Q, T\] of bool or floats, found torch.int64"
    ):
        hf(ids, attention_mask=causal.long())


def test_weights_are_given_where_they_are_asked_for() -> None:
    hf = model_of("gpt_oss", "heed_l1")
    with torch.no_grad():
        out = hf(ids_of(1, 9), output_attentions=True)
    rows = trace(wrap(hf), prompt(9))
    for key, weights in zip(rows.layers, out.attentions, strict=True):
        torch.testing.assert_close(weights, rows.views[key].rows(slice(None)), rtol=0, atol=EXACT)


def test_a_cap_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="found softcap in Gemma2Attention"):
        model_of("gemma2", "heed_l1")(ids_of(1, 5))


def test_a_power_must_be_installed() -> None:
    with pytest.raises(InputError, match=r"p: expected p > 0, for example p=3\.0"):
        model_of("llama", "heed_lp")(ids_of(1, 5))


def test_unknown_arguments_are_refused() -> None:
    module, x = torch.nn.Identity(), torch.zeros(1, 2, 3, 4)
    with pytest.raises(UnsupportedModelError, match="found logit_bias from Identity"):
        mechanism.attention(module, x, x, x, None, implementation="heed_l1", logit_bias=1.0)


def test_a_distance_is_never_attended_to_as_a_dot_product() -> None:
    x = torch.zeros(1, 1, 3, 4)
    terms = Terms(DistanceScore("l1", (1.0,)), Mask.causal(3, 3))
    with pytest.raises(InputError, match="expected the score rule of a dot product, found DistanceScore"):
        fused.attend(x, x, x, terms)
    assert fused.attend(x, x, x, Terms(DotScore(1.0), Mask.causal(3, 3))).out.shape == (1, 1, 3, 4)


def test_models_of_images_attend_too() -> None:
    torch.manual_seed(0)
    heed.register_attention()
    config = tf.ViTConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                          image_size=8, patch_size=2)  # fmt: skip
    hf = tf.ViTModel(config).eval()
    pixels = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        want = hf(pixel_values=pixels).last_hidden_state
        hf.set_attn_implementation("heed_dot")
        torch.testing.assert_close(hf(pixel_values=pixels).last_hidden_state, want, rtol=1e-4, atol=1e-5)


def test_a_reading_of_a_distance_model_is_not_that_of_its_dot_product() -> None:
    """The same weights under both: rows must differ, or the check above proves nothing."""
    rows = {}
    for name in ("sdpa", "heed_l1"):
        model: Model = wrap(model_of("llama", name))
        rows[name] = read(model, [prompt(13)], {"row": LastRow()}).stack("row")
    assert np.abs(rows["sdpa"] - rows["heed_l1"]).max() > 0.05
