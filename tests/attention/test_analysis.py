"""`analyze`, `performance_stats` and `log_weights` against the same numbers from full weight matrices."""

import logging
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heed.attention import (
    AttentionConfig,
    AttentionModel,
    Metric,
    ModelConfig,
    MultiheadAttention,
    ResultCache,
    analyze,
    distance_attention,
    log_weights,
    performance_stats,
)
from heed.attention.analysis import LayerAnalysis
from heed.errors import InputError, UnsupportedModelError

MIXED = ("l2", "l1", "dot", "l2")


class Stack(nn.Module):
    """Two attention layers over embeddings; a mapping of arguments runs it as it does a model of transformers."""

    def __init__(self, *metrics: object) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.layers = nn.ModuleList(MultiheadAttention(16, 4, batch_first=True, metric=m, dropout=0.5) for m in metrics)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embedding(ids)
        padding = None if attention_mask is None else ~attention_mask.bool()
        for layer in self.layers:
            x = x + layer(x, x, x, key_padding_mask=padding, need_weights=False)[0]
        return x


def batches(count: int, size: int = 3, length: int = 63) -> list[Tensor]:
    return [torch.randint(20, (size, length)) for _ in range(count)]


def full(model: Stack, ids: Tensor, layer: int, mask: Tensor | None = None) -> Tensor:
    """The weights ``[B, H, Q, T]`` of a layer, as the layer itself returns them."""
    x = model.embedding(ids)
    padding = None if mask is None else ~mask
    for before in model.layers[:layer]:
        x = x + before(x, x, x, key_padding_mask=padding, need_weights=False)[0]
    weights: Tensor = model.layers[layer](x, x, x, key_padding_mask=padding, average_attn_weights=False)[1]
    return weights.detach().double()


@pytest.mark.parametrize("layer", [0, 1])
def test_it_is_what_the_full_weights_say(layer):
    model, data = Stack("l1", MIXED), batches(3)
    found: LayerAnalysis = analyze(model, data, 9, rows=63).layers[layer]
    model.eval()
    weights = torch.cat([full(model, ids, layer) for ids in data])
    entropy = torch.special.entr(weights).sum(-1)
    torch.testing.assert_close(found.entropy, entropy.mean((0, 2)).float())
    torch.testing.assert_close(found.effective_context, entropy.exp().mean((0, 2)).float())
    torch.testing.assert_close(found.max_probability, weights.amax(-1).mean((0, 2)).float())
    alike = torch.nn.functional.cosine_similarity(weights[:, :, None], weights[:, None], dim=-1).mean((0, 3))
    torch.testing.assert_close(found.similarity, alike.float())
    assert (found.name, found.rows) == (f"layers.{layer}", 9 * 63)
    assert found.metrics == (("l1",) * 4, MIXED)[layer]


def test_the_mean_distance_is_that_of_the_metric():
    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return distance_attention(x, x, x, metric="l1", lam=3.0, is_causal=True)

    x = torch.randn(2, 2, 9, 4)
    found = analyze(Layer(), [x], 2).layers[0]
    aux = distance_attention(x, x, x, metric="l1", lam=3.0, is_causal=True, return_aux=("weights",))[1]
    wanted = (aux.weights * torch.cdist(x, x, p=1)).sum(-1).mean((0, 2))
    torch.testing.assert_close(found.mean_distance, wanted)


def test_heads_are_compared_under_the_mask_of_each_row():
    x, bias = torch.randn(2, 3, 9, 4), torch.randn(1, 3, 9, 9)
    hiding = {"is_causal": True, "window": 5, "attn_mask": bias, "alibi_slopes": torch.tensor([0.1, 0.5, 1.0])}

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return distance_attention(x, x, x, metric="l2", **hiding)

    found = analyze(Layer(), [x], 2, rows=4).layers[0]
    weights = distance_attention(x, x, x, metric="l2", return_aux=("weights",), **hiding)[1].weights
    some = weights[:, :, [1, 3, 5, 8]]
    alike = torch.nn.functional.cosine_similarity(some[:, :, None], some[:, None], dim=-1).mean((0, 3))
    torch.testing.assert_close(found.similarity, alike)


def test_what_is_asked_outside_the_model_is_not_heard():
    class Broken(nn.Module):
        def forward(self) -> None:
            raise ZeroDivisionError

    def run(model: Stack, ids: Tensor) -> None:
        with pytest.raises(ZeroDivisionError):
            model.broken()
        x = torch.randn(1, 1, 3, 4)
        distance_attention(x, x, x)
        model(ids)

    model = Stack("l1")
    model.broken = Broken()
    assert [layer.name for layer in analyze(model, batches(1), 3, run=run).layers] == ["layers.0"]


def test_a_metric_of_ones_own_is_analysed_too():
    def canberra(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
        return (q.unsqueeze(-2) - k.unsqueeze(-3)).abs().sqrt().sum(-1)

    found = analyze(Stack(Metric("canberra", canberra)), batches(1), 3)
    assert found.layers[0].metrics == ("canberra",) * 4
    assert bool(found.layers[0].entropy.isfinite().all())


def test_padding_does_not_count():
    model, ids = Stack("l1"), torch.randint(20, (2, 10))
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[0, 4:] = False
    found = analyze(model, [{"ids": ids, "attention_mask": mask}], 2).layers[0]
    model.eval()
    entropy = torch.special.entr(full(model, ids, 0, mask)).sum(-1)
    wanted = torch.cat([entropy[0, :, :4], entropy[1]], 1).mean(1).float()
    assert found.rows == 14
    torch.testing.assert_close(found.entropy, wanted)
    by_key_mask = analyze(model, [(ids, mask)], 2, run=lambda model, batch: model(*batch)).layers[0]
    torch.testing.assert_close(by_key_mask.entropy, wanted)


def test_it_reads_no_more_samples_than_asked_for():
    seen = []
    model = Stack("l1")
    found = analyze(model, batches(4), 7, run=lambda model, batch: seen.append(len(batch)) or model(batch))
    assert (seen, found.samples) == ([3, 3, 1], 7)
    assert analyze(model, batches(1), 7).samples == 3


def test_the_model_is_as_it_was_afterwards():
    model = Stack("l1").train()
    analyze(model, batches(1), 3)
    assert model.training
    hooks = [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks]
    with pytest.raises(ZeroDivisionError):
        analyze(model, batches(1), 3, run=lambda *_: 1 / 0)
    assert hooks == [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks] == []


def test_it_prints_and_records_every_head():
    found = analyze(Stack("l1", MIXED), batches(1), 3)
    lines = str(found).splitlines()
    assert len(lines) == 1 + 8
    assert lines[7].split()[:3] == ["layers.1", "2", "dot"]
    record = found.record()
    assert record["samples"] == 3
    assert record["layers"][1]["metrics"] == list(MIXED)
    assert math.isclose(record["layers"][0]["similarity"][2][2], 1.0, rel_tol=1e-5)


def test_a_language_model_of_heed_is_analysed_whole():
    config = ModelConfig(
        vocab_size=30, d_model=16, nhead=4, num_layers=2, dim_feedforward=32, attention=AttentionConfig(metric="l2")
    )
    found = analyze(AttentionModel(config), [torch.randint(30, (2, 20))], 2)
    assert [layer.name for layer in found.layers] == ["blocks.0.self_attn", "blocks.1.self_attn"]
    assert float(found.layers[0].effective_context.max()) < 10.6  # causal rows see 10.5 keys on average


def test_memory_does_not_grow_with_the_square_of_the_length():
    model = Stack("l1").eval()
    with torch.no_grad(), performance_stats(model, layers=[""], memory=True) as stats:
        analyze(model, [torch.randint(20, (1, 1024))], 1)
    assert stats.layers[0].peak_mb < 4 * 1024 * 1024 * 4 / 1e6 / 4


def test_what_cannot_be_analysed_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"none in Linear: use heed's layers"):
        analyze(nn.Linear(3, 3), [torch.randn(2, 3)], 2)
    with pytest.raises(InputError, match="at least one batch"):
        analyze(Stack("l1"), [], 2)
    with pytest.raises(InputError, match="at least 1"):
        analyze(Stack("l1"), batches(1), 0)
    model = Stack("l1")
    model.layers[0].mechanism.result_cache = ResultCache()
    with pytest.raises(InputError, match="result cache"):
        analyze(model, batches(1), 3)


def test_weights_are_logged_on_request(caplog, tmp_path):
    model, (ids, more, _) = Stack("l1", MIXED).eval(), batches(3)
    with (
        caplog.at_level(logging.INFO, "heed.attention.weight_log"),
        log_weights(model, layers=["layers.1"], every=2) as log,
    ):
        for batch in (ids, more, ids):
            model(batch)
    assert [(entry.layer, entry.number) for entry in log.entries] == [("layers.1", 0), ("layers.1", 2)]
    torch.testing.assert_close(log.of("layers.1")[0].weights.double(), full(model, ids, 1))
    assert [record.levelname for record in caplog.records if "logged the attention weights" in record.message] == [
        "INFO"
    ] * 2
    log.save(tmp_path / "weights.npz")
    assert np.load(tmp_path / "weights.npz")["layers.1/2"].shape == (3, 4, 63, 63)


def test_a_log_of_weights_has_a_limit():
    model = Stack("l1").eval()
    with pytest.raises(InputError, match="log fewer layers"), log_weights(model, max_bytes=1000):
        model(batches(1)[0])
    with pytest.raises(InputError, match=r"found layer\.0"), log_weights(model, layers=["layer.0"]):
        pass


def test_performance_counts_each_layer():
    model = Stack("l1", "l2").eval()
    with performance_stats(model) as stats:
        for batch in batches(3):
            model(batch)
    by_name = {layer.name: layer for layer in stats.layers}
    assert [by_name[name].kind for name in ("layers.0", "layers.1.mechanism")] == ["MultiheadAttention", "Mechanism"]
    layer, part = by_name["layers.0"], by_name["layers.0.mechanism"]
    assert layer.calls == part.calls == 3
    assert 0 < part.seconds < layer.seconds
    assert layer.median_seconds <= layer.slowest_seconds <= layer.seconds
    assert layer.peak_mb is None
    assert str(stats).splitlines()[1].startswith("layers.0 ")


def test_performance_names_layers_for_a_profile_and_reads_memory():
    model = nn.Sequential(nn.Linear(100, 1000, bias=False), nn.ReLU())
    with performance_stats(model, memory=True) as stats:
        model(torch.randn(50, 100))
    assert [layer.name for layer in stats.layers] == ["0", "1"]
    assert stats.layers[0].peak_mb == pytest.approx(50 * 1000 * 4 / 1e6, rel=0.01)
    with torch.profiler.profile() as profiled, performance_stats(model, layers=["1"]):
        model(torch.randn(50, 100))
    assert "heed: 1" in {event.name for event in profiled.events()}


def test_performance_survives_an_exception_and_refuses_unknown_names():
    model = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(RuntimeError), performance_stats(model):
        model(torch.randn(2, 5))
    assert not model[0]._forward_hooks
    with performance_stats(model) as stats:
        with pytest.raises(RuntimeError):
            model(torch.randn(2, 5))
        model(torch.randn(2, 3))
    assert stats.layers[0].calls == 2
    with pytest.raises(InputError, match=r"found layer9; it has 0"), performance_stats(model, layers=["layer9"]):
        pass


def test_a_transformers_model_under_heeds_attention_is_analysed_by_its_own_names():
    from transformers import LlamaConfig, LlamaForCausalLM

    from heed.interface.install import install

    sizes = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)).eval()
    install(model, metric="l2", heads=(1, 2))
    mask = torch.ones(3, 20, dtype=torch.long)
    mask[0, 12:] = 0
    batch = {"input_ids": torch.randint(30, (3, 20)), "attention_mask": mask}
    found = analyze(model, [batch], 3).layers[1]
    assert (found.name, found.metrics) == ("model.layers.1.self_attn", ("dot", "l2", "l2", "dot"))
    weights = model(**batch, output_attentions=True).attentions[1].detach()
    entropy = torch.special.entr(weights).sum(-1).transpose(1, 2)[mask.bool()]
    torch.testing.assert_close(found.entropy, entropy.mean(0), rtol=1e-4, atol=1e-5)
