"""One map of a few rows, grown while a pass runs: the mean of a trace's rows, in bounded memory, generated or not."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from heed.errors import InputError
from heed.model import Model, wrap
from heed.probe import LayerKey, MeanRows, mean_rows, read, trace
from heed.probe.probes import Moment
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

EXACT = 2e-6
SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
         "num_key_value_heads": 2, "num_hidden_layers": 4, "max_position_embeddings": 128}  # fmt: skip
LAST = (LayerKey("decoder", 2), LayerKey("decoder", 3))


def keen(hf) -> Model:
    with torch.no_grad():
        for layer in hf.model.layers:
            layer.self_attn.q_proj.weight.mul_(10.0)
    return wrap(hf.eval(), name="small")


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return keen(LlamaForCausalLM(LlamaConfig(**SMALL, eos_token_id=None)))


def prompt(length: int, seed: int = 1) -> Encoded:
    ids = np.random.default_rng(seed).integers(3, 60, length).astype(np.int64)
    return Encoded(ids=ids, offsets=np.zeros((length, 2), dtype=np.int64), text="")


def by_hand(model: Model, text: Encoded, rows: TokenSpan, keys: TokenSpan, layers=None) -> np.ndarray:
    kept = trace(model, text)
    maps = [kept.views[key].rows(slice(None))[0] for key in layers or kept.layers]
    return torch.stack(maps).mean((0, 1))[rows.slice(), keys.slice()].numpy()


@pytest.mark.parametrize("length", [2, 63, 100])
@pytest.mark.parametrize("block", [1, 4 * 100 * 3, 1 << 21])
def test_it_is_the_mean_over_heads_and_layers(model, monkeypatch, length, block) -> None:
    monkeypatch.setattr(mean_rows, "_BLOCK_ELEMENTS", block)
    text, rows, keys = prompt(length), TokenSpan(length // 2, length), TokenSpan(length // 5, length // 2)
    for layers in (None, LAST):
        probe = MeanRows(keys, rows)
        reading = read(model, [text], {"reached": probe}, layers=layers)
        np.testing.assert_allclose(probe.mean(), by_hand(model, text, rows, keys, layers), atol=EXACT)
        assert reading.stack("reached").shape == (1, len(layers or model.anatomy.windows), 4, len(rows))
        np.testing.assert_allclose(reading.stack("reached").mean((0, 1, 2)), probe.mean().sum(1), atol=EXACT)


def test_rows_of_generated_tokens_are_those_of_a_pass_over_the_finished_text(model) -> None:
    text, keys = prompt(20), TokenSpan(3, 17)
    probe = MeanRows(keys)
    reading = read(model, [text], {"reached": probe}, layers=LAST, new_tokens=9)
    ids = np.concatenate([text.ids, reading.generated[0]])
    whole = Encoded(ids=ids, offsets=np.zeros((len(ids), 2), dtype=np.int64), text="")
    rows = TokenSpan(20, 28)  # the ninth token was generated, but never read
    assert probe.mean().shape == (8, 14)
    np.testing.assert_allclose(probe.mean(), by_hand(model, whole, rows, keys, LAST), atol=EXACT)
    assert np.ptp(probe.mean(), axis=0).max() > 1e-3


def test_prompt_rows_come_before_those_that_are_generated(model) -> None:
    text, keys = prompt(20), TokenSpan(0, 6)
    both, later = MeanRows(keys, TokenSpan(15, 20)), MeanRows(keys)
    read(model, [text], {"both": both, "later": later}, new_tokens=4)
    np.testing.assert_allclose(both.mean()[:5], by_hand(model, text, TokenSpan(15, 20), keys), atol=EXACT)
    np.testing.assert_array_equal(both.mean()[5:], later.mean())


def test_keys_that_a_sliding_cache_drops_receive_nothing() -> None:
    torch.manual_seed(0)
    model = keen(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=8, eos_token_id=None)))
    text, keys = prompt(20), TokenSpan(10, 20)
    probe = MeanRows(keys)
    reading = read(model, [text], {"reached": probe}, new_tokens=8)
    ids = np.concatenate([text.ids, reading.generated[0]])
    whole = Encoded(ids=ids, offsets=np.zeros((len(ids), 2), dtype=np.int64), text="")
    np.testing.assert_allclose(probe.mean(), by_hand(model, whole, TokenSpan(20, 27), keys), atol=EXACT)
    assert (probe.mean()[5:, :3] == 0).all()
    assert (probe.mean()[:, -1] > 0).all()


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, torch.Tensor):
                self.elements = max(self.elements, one.numel())
        return out


def test_nothing_larger_than_the_map_or_a_block_is_made(model, monkeypatch) -> None:
    monkeypatch.setattr(mean_rows, "_BLOCK_ELEMENTS", 1000)
    text = prompt(120)
    kept = trace(model, text)
    probe, moment = MeanRows(TokenSpan(0, 60), TokenSpan(60, 120)), Moment(torch.tensor([[-1]]), torch.zeros(1, 120, 0))
    views = [kept.views[key] for key in kept.layers]
    probe(views[0], moment)
    with Largest() as noted:
        for view in views[1:]:
            probe(view, moment)
    assert noted.elements <= max(1000, 60 * 60, views[0].k.numel())
    with Largest() as noted:
        views[0].rows(slice(60, 120))
    assert noted.elements >= 4 * 60 * 120


def test_one_prompt_one_read(model) -> None:
    with pytest.raises(InputError, match="expected one prompt, found 2"):
        read(model, [prompt(9), prompt(9)], {"reached": MeanRows(TokenSpan(0, 4), TokenSpan(4, 9))})
    with pytest.raises(InputError, match="found one that was not"):
        MeanRows(TokenSpan(0, 4)).mean()
