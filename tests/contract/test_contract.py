"""The contract of a reading, run over every family that can be built offline.

For each family: the model's output is unchanged; what is read equals eager attention; streamed equals
after-the-fact; nothing is left behind after an exception; nothing of size S×S exists.
"""

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, Family
from torch.utils._python_dispatch import TorchDispatchMode

from heed.attention.dot import fused
from heed.interface.session import listening
from heed.model import Model, wrap
from heed.probe import view as view_module
from heed.probe.batch import Batch
from heed.probe.layers import layers_of
from heed.probe.probes import AllRowsMass, LastRow, LastRowMass, Received, RowEntropy
from heed.probe.run import read
from heed.probe.trace import Trace, trace
from heed.probe.view import LayerView
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

EXACT = 1e-5
DECODERS = [f for f in FAMILIES if f.causal and not f.encoder_decoder]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
every_decoder = pytest.mark.parametrize("family", DECODERS, ids=lambda f: f.name)


@cache
def built(name: str) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return wrap(next(f for f in FAMILIES if f.name == name).build(), name=name)


def prompt(length: int, seed: int = 1) -> Encoded:
    ids = np.random.default_rng(seed).integers(3, 60, length).astype(np.int64)
    return Encoded(ids=ids, offsets=np.zeros((length, 2), dtype=np.int64), text="")


def eager(family: Family, model: Model, ids: torch.Tensor, **arguments: Any) -> Any:
    """The model's own eager run with all maps; its implementation is put back afterwards."""
    before = model.hf.config._attn_implementation
    model.hf.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            return model.hf(ids, output_attentions=True, **arguments)
    finally:
        model.hf.set_attn_implementation(before)


def decoder_arguments(family: Family, model: Model, target: Encoded) -> dict[str, torch.Tensor]:
    if not family.encoder_decoder:
        return {}
    start = torch.tensor([[model.hf.config.decoder_start_token_id]])
    return {"decoder_input_ids": torch.cat([start, torch.from_numpy(target.ids)[None]], 1)}


def eager_maps(family: Family, model: Model, out: Any) -> dict[Any, torch.Tensor]:
    keys = layers_of(model).keys
    if not family.encoder_decoder:
        return dict(zip(keys, out.attentions, strict=True))
    maps = {("encoder", "self"): out.encoder_attentions, ("decoder", "self"): out.decoder_attentions,
            ("decoder", "cross"): out.cross_attentions}  # fmt: skip
    return {key: maps[key.stack, key.kind][key.index] for key in keys}


def worst(views: dict[Any, LayerView], maps: dict[Any, torch.Tensor]) -> float:
    return max(float((views[key].rows(slice(None)) - attention).abs().max()) for key, attention in maps.items())


@every_family
@pytest.mark.parametrize("length", [1, 13, 63, 100])
def test_rows_equal_eager(family: Family, length: int) -> None:
    """Prefill at awkward lengths, well beyond every window; all stacks, self and cross."""
    model, text, target = built(family.name), prompt(length), prompt(7, seed=2)
    out = eager(family, model, torch.from_numpy(text.ids)[None], **decoder_arguments(family, model, target))
    taken = trace(model, text, target=target if family.encoder_decoder else None)
    assert set(taken.layers) == set(eager_maps(family, model, out))
    assert worst(dict(taken.views), eager_maps(family, model, out)) < EXACT


@every_family
def test_output_is_unchanged(family: Family) -> None:
    model, text = built(family.name), torch.from_numpy(prompt(37).ids)[None]
    arguments = decoder_arguments(family, model, prompt(7, seed=2))
    plain = eager(family, model, text, **arguments).logits if hasattr(model.hf, "lm_head") else None
    wanted = plain if plain is not None else eager(family, model, text, **arguments)[0]
    calls = []
    modules = frozenset(layers_of(model).modules.values())
    with torch.no_grad(), listening(model.hf, calls.append, modules=modules):
        got = model.hf(text, **arguments)[0]
    assert len(calls) == len(modules)
    # eager itself rounds: hold the difference to a few ulps of the largest logit
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=2e-6 * max(1.0, float(wanted.abs().max())))


@every_family
def test_left_padding_equals_eager(family: Family) -> None:
    """Real rows of each padded prompt equal the eager map of the same padded batch; padded rows are zero."""
    model, texts = built(family.name), [prompt(11), prompt(23, seed=3)]
    batch = Batch.of(texts, padding="left")
    arguments: dict[str, Any] = {"attention_mask": batch.real()}
    if not family.encoder_decoder:
        arguments["position_ids"] = batch.position_ids()
    else:
        arguments["decoder_input_ids"] = torch.full((2, 1), model.hf.config.decoder_start_token_id)
    out = eager(family, model, batch.ids, **arguments)
    maps = eager_maps(family, model, out)
    keys = [key for key in layers_of(model).keys if key.stack == "encoder" or not family.encoder_decoder]
    reading = read(model, texts, {"rows": _EveryRow()}, padding="left", layers=keys)
    for key in keys:
        got, want = torch.from_numpy(reading.steps[0]["rows"][key]), maps[key]
        for item, text in enumerate(texts):
            real = slice(23 - len(text), 23)
            assert float((got[item, :, real] - want[item, :, real]).abs().max()) < EXACT
            if family.causal and not family.encoder_decoder:
                assert not got[item, :, : 23 - len(text)].any()


class _EveryRow:
    def __call__(self, view: LayerView, moment: object) -> torch.Tensor:
        return view.rows(slice(None))


@every_decoder
def test_right_padding_reads_what_a_prompt_alone_reads(family: Family) -> None:
    model, texts = built(family.name), [prompt(11), prompt(23, seed=3), prompt(1, seed=4)]
    spans = [[TokenSpan(0, 1), TokenSpan(0, len(text))] for text in texts]
    probes = {"mass": LastRowMass(), "row": LastRow()}
    together = read(model, texts, probes, spans=spans)
    for item, text in enumerate(texts):
        alone = read(model, [text], probes, spans=spans[item : item + 1])
        np.testing.assert_allclose(together.stack("mass")[item], alone.stack("mass")[0], atol=2e-5)
        row = together.stack("row")[item]
        np.testing.assert_allclose(row[..., : len(text)], alone.stack("row")[0], atol=2e-5)
        assert not row[..., len(text) :].any()


@every_family
def test_streamed_equals_after_the_fact(family: Family) -> None:
    model, text = built(family.name), prompt(41)
    spans = [TokenSpan(0, 5), TokenSpan(5, 40)]
    probes = {"last": LastRow(), "mass": LastRowMass(), "all": AllRowsMass(), "entropy": RowEntropy(), "in": Received()}
    streamed = read(model, [text], probes, spans=[spans])
    kept = trace(model, text)
    for name, probe in probes.items():
        again = kept.ask(probe, spans=spans)
        np.testing.assert_allclose(streamed.stack(name)[0], again, atol=2e-6, err_msg=name)


@every_family
def test_nothing_is_left_after_an_exception(family: Family) -> None:
    model, text = built(family.name), prompt(17)
    before = [(c, c._attn_implementation) for c in _configs(model)]
    hooks = dict(model.hf.base_model._forward_pre_hooks)

    class BoomError(Exception):
        pass

    def explode(view: LayerView, moment: object) -> torch.Tensor:
        raise BoomError

    with pytest.raises(BoomError):
        read(model, [text], {"boom": explode})
    assert all(config._attn_implementation == name for config, name in before)
    assert dict(model.hf.base_model._forward_pre_hooks) == hooks
    assert read(model, [text], {"in": Received()}).stack("in").shape[0] == 1


def _configs(model: Model) -> list[Any]:
    return [m.config for m in model.hf.modules() if hasattr(m, "config")]


class _Largest(TorchDispatchMode):
    """Remembers the largest tensor any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor._base is None:
                self.numel = max(self.numel, tensor.numel())
        return out


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.name not in {"t5", "qwen3_next", "gpt2", "bart", "bert"}],
                         ids=lambda f: f.name)  # fmt: skip
def test_nothing_of_size_s_by_s_exists(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """700 tokens: a map has 490,000 entries a head; the largest tensor of a trace must stay far below one.

    T5 computes a position bias of S×S itself; Qwen3-Next's linear layers pad; the others lack long positions.
    """
    monkeypatch.setattr(fused, "_BLOCK_ELEMENTS", 1 << 15)
    monkeypatch.setattr(view_module, "_BLOCK_ELEMENTS", 1 << 15)
    model, text = built(family.name), prompt(700)
    layers_of(model)
    largest = _Largest()
    with largest:
        kept = trace(model, text)
        kept.layer(kept.layers[-1].index).received()
    assert largest.numel < 700 * 700 // 2


@every_decoder
def test_generation_equals_eager(family: Family) -> None:
    """The prompt's last row and the row of each generated token, against eager generation step by step."""
    model, text, new = built(family.name), prompt(9), 6
    before = model.hf.config._attn_implementation
    model.hf.set_attn_implementation("eager")
    want = model.hf.generate(
        torch.from_numpy(text.ids)[None], max_new_tokens=new, do_sample=False, output_attentions=True,
        return_dict_in_generate=True, pad_token_id=0,
    )  # fmt: skip
    model.hf.set_attn_implementation(before)
    got = read(model, [text], {"row": LastRow()}, new_tokens=new)
    assert got.generated is not None
    assert got.generated[0].tolist() == want.sequences[0, 9:].tolist()
    assert len(got.steps) == len(want.attentions)
    for step, maps in enumerate(want.attentions):
        for key, attention in zip(layers_of(model).keys, maps, strict=True):
            row = torch.from_numpy(got.steps[step]["row"][key])
            assert float((row - attention[:, :, -1]).abs().max()) < EXACT
    kept = trace(model, text, new_tokens=new)
    last = [view.rows(8 + len(got.steps) - 1)[..., 0, :] for view in kept.views.values()]
    for key, row in zip(kept.layers, last, strict=True):
        streamed = got.steps[-1]["row"][key]
        np.testing.assert_allclose(row.numpy()[..., -streamed.shape[-1] :], streamed, atol=2e-6)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.encoder_decoder], ids=lambda f: f.name)
def test_encoder_decoder_generation_equals_eager(family: Family) -> None:
    """Cross-attention of each generated token, and the decoder's own rows of a trace."""
    model, text, new = built(family.name), prompt(9), 5
    before = model.hf.config._attn_implementation
    model.hf.set_attn_implementation("eager")
    want = model.hf.generate(
        torch.from_numpy(text.ids)[None], max_new_tokens=new, min_new_tokens=new, do_sample=False,
        output_attentions=True, return_dict_in_generate=True, pad_token_id=0,
    )  # fmt: skip
    model.hf.set_attn_implementation(before)
    got = read(model, [text], {"row": LastRow()}, new_tokens=len(want.cross_attentions))
    keys = [key for key in layers_of(model).keys if key.kind == "cross"]
    shared = min(len(got.steps), len(want.cross_attentions))
    for step in range(shared):
        for key, attention in zip(keys, want.cross_attentions[step], strict=True):
            assert float((torch.from_numpy(got.steps[step]["row"][key]) - attention[:, :, -1]).abs().max()) < EXACT
    kept = trace(model, text, new_tokens=shared)
    for step in range(shared):
        for index, attention in enumerate(want.decoder_attentions[step]):
            row = kept.layer(index).rows(step)[:, :, 0, : step + 1]
            assert float((row - attention[:, :, -1]).abs().max()) < EXACT
        for index, attention in enumerate(want.cross_attentions[step]):
            row = kept.layer(index, kind="cross").rows(step)
            assert float((row - attention[:, :, -1:]).abs().max()) < EXACT


@pytest.mark.parametrize("family", [f for f in DECODERS if f.static_cache], ids=lambda f: f.name)
def test_static_cache_equals_eager(family: Family) -> None:
    """A static cache hands over its unfilled tail: only the mask hides it."""
    model, text = built(family.name), prompt(9)
    ids = torch.from_numpy(text.ids)[None]
    maps = eager(family, model, ids).attentions
    views: dict[Any, LayerView] = {}
    modules = {module: key for key, module in layers_of(model).modules.items()}

    def observe(call: Any) -> None:
        key = modules[call.module]
        views[key] = LayerView(key, call.q, call.k, call.terms, call.lse)

    from transformers import StaticCache

    cache = StaticCache(config=model.hf.config, max_cache_len=32)
    with torch.no_grad(), listening(model.hf, observe, modules=frozenset(modules)):
        model.hf(ids, past_key_values=cache, use_cache=True)
    for key, attention in zip(layers_of(model).keys, maps, strict=True):
        rows = views[key].rows(slice(None))
        assert float((rows[..., :9] - attention).abs().max()) < EXACT
        assert not rows[..., 9:].any()


@every_family
def test_saved_trace_is_the_same_trace(family: Family, tmp_path: Any) -> None:
    model, text = built(family.name), prompt(29)
    kept = trace(model, text)
    kept.save(tmp_path / "t.safetensors")
    again = Trace.load(tmp_path / "t.safetensors")
    assert again.layers == kept.layers
    assert again.fingerprint == model.fingerprint
    for key in kept.layers:
        assert torch.equal(kept.views[key].rows(slice(None)), again.views[key].rows(slice(None)))
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]
