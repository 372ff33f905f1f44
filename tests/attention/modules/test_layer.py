"""`DistanceAttention` and the `Mechanism` in it: options, heads of different metrics, λ, p, β, context and cache."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from heed.attention import (
    METRICS,
    AttentionConfig,
    DistanceAttention,
    KeyValue,
    Mechanism,
    Metric,
    ScaledDotProductAttention,
    distance_attention,
)
from heed.errors import InputError

NEEDS: dict[str, dict[str, float]] = {"lp": {"p": 3.0}, "smooth_chebyshev": {"beta": 2.0}}
CAUSAL_WITH_CONTEXT = "have no position among those of another"


def heads(*shape: int) -> list[Tensor]:
    return [torch.randn(*shape, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_every_metric_is_the_functional_between_projections(metric: str) -> None:
    extra = NEEDS.get(metric, {})
    layer = DistanceAttention(
        24, 3, metric, p_norm=extra.get("p"), beta=extra.get("beta"), lambda_param=2.0, scale="sqrt_dim"
    ).double()
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    q, k, v = (p(x).view(2, 7, 3, 8).transpose(1, 2) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    p = extra.get("p", extra.get("beta"))
    wanted = distance_attention(q, k, v, metric=metric, p=p, lam=2.0, scale="sqrt_dim", is_causal=True)
    wanted = layer.o_proj(wanted.transpose(1, 2).reshape(2, 7, 24))
    torch.testing.assert_close(layer(x, is_causal=True), wanted, rtol=1e-10, atol=1e-12)


def test_scaled_dot_product_is_torchs() -> None:
    q, k, v = heads(2, 4, 63, 8)
    layer = ScaledDotProductAttention(4)
    out, weights = layer(q, k[:, :2], v[:, :2], is_causal=True)
    wanted = functional.scaled_dot_product_attention(q, k[:, :2], v[:, :2], is_causal=True, enable_gqa=True)
    torch.testing.assert_close(out, wanted, rtol=1e-10, atol=1e-12)
    assert weights is None
    assert layer(q, k, v, need_weights=True)[1].shape == (2, 4, 63, 63)


MIXED = ("l1", "cosine", "lp", "l1", "smooth_chebyshev", "dot")


@pytest.mark.parametrize("kv_heads", [6, 3, 1])
@pytest.mark.parametrize("mask_heads", [1, 6])
def test_mixed_metrics_are_the_heads_computed_apart(kv_heads: int, mask_heads: int) -> None:
    q = torch.randn(2, 6, 9, 8, dtype=torch.float64)
    k, v = (torch.randn(2, kv_heads, 9, 8, dtype=torch.float64) for _ in range(2))
    lam = (0.5, 1.0, 2.0, 3.0, 1.5, 0.7)
    config = AttentionConfig(metric=MIXED, p=1.5, beta=4.0, lambda_param=lam, positions="alibi", window=5)
    mechanism = Mechanism(config, 6, dtype=torch.float64)
    mask = torch.randn(2, mask_heads, 9, 9, dtype=torch.float64)
    wanted_aux = ("weights", "lse", "entropy")
    out, aux = mechanism(q, k, v, attn_mask=mask, is_causal=True, return_aux=wanted_aux)
    slopes = mechanism.slopes
    assert slopes is not None
    for head, metric in enumerate(MIXED):
        kv = slice(head * kv_heads // 6, head * kv_heads // 6 + 1)
        alone, alone_aux = distance_attention(
            q[:, head : head + 1],
            k[:, kv],
            v[:, kv],
            metric=metric,
            p={"lp": 1.5, "smooth_chebyshev": 4.0}.get(metric),
            lam=lam[head],
            attn_mask=mask[:, head : head + 1] if mask_heads > 1 else mask,
            alibi_slopes=slopes[head : head + 1],
            is_causal=True,
            window=5,
            return_aux=wanted_aux,
        )
        torch.testing.assert_close(out[:, head : head + 1], alone, rtol=1e-10, atol=1e-12)
        for name in wanted_aux:
            found, wanted = getattr(aux, name)[:, head : head + 1], getattr(alone_aux, name)
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert aux.mean_distance is None


def test_mixed_metrics_train_all_that_is_learned() -> None:
    layer = DistanceAttention(48, 6, MIXED, p_norm=1.5, beta=4.0, use_learnable_lambda=True, learnable_p=True)
    layer(torch.randn(2, 9, 48)).square().sum().backward()
    log_lambda, log_p = layer.mechanism.log_lambda, layer.mechanism.log_p
    assert log_lambda is not None
    assert log_p is not None
    assert log_lambda.grad is not None
    assert log_p.grad is not None
    assert bool((log_lambda.grad != 0).all())
    assert (log_p.grad != 0).tolist() == [metric == "lp" for metric in MIXED]


def test_a_metric_of_ones_own() -> None:
    def canberra(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
        a, b = q.unsqueeze(-2), k.unsqueeze(-3)
        return ((a - b).abs() / (a.abs() + b.abs() + 1e-6)).sum(-1)

    layer = DistanceAttention(16, 2, Metric("canberra", canberra))
    out = layer(torch.randn(2, 5, 16))
    assert out.shape == (2, 5, 16)
    with pytest.raises(InputError, match="Metric of one's own"):
        layer.config.to_dict()


def test_lambda_is_kept_as_a_logarithm_and_clamped() -> None:
    layer = DistanceAttention(16, 4, "l2", lambda_param=(1.0, 2.0, 3.0, 4.0), use_learnable_lambda=True)
    log_lambda = layer.mechanism.log_lambda
    assert log_lambda is not None
    torch.testing.assert_close(log_lambda.detach(), torch.tensor([1.0, 2.0, 3.0, 4.0]).log())
    with torch.no_grad():
        log_lambda.fill_(9.0)
    torch.testing.assert_close(layer.mechanism.lam().detach(), torch.full((4,), 100.0))


def test_set_learnable_lambda_keeps_the_function_and_the_state() -> None:
    layer = DistanceAttention(16, 4, "l1", lambda_param=2.0).eval()
    x = torch.randn(2, 5, 16)
    before, names = layer(x), set(layer.state_dict())
    layer.set_learnable_lambda()
    torch.testing.assert_close(layer(x), before)
    assert set(layer.state_dict()) - names == {"mechanism.log_lambda"}
    layer(x).sum().backward()
    assert layer.mechanism.log_lambda is not None
    assert layer.mechanism.log_lambda.grad is not None
    layer.set_learnable_lambda(False)
    assert "mechanism.log_lambda" in layer.state_dict()
    assert not layer.mechanism.log_lambda.requires_grad


def test_a_fixed_lambda_above_the_bound_cannot_be_learned() -> None:
    layer = DistanceAttention(16, 4, "cosine", lambda_param=500.0)
    with pytest.raises(InputError, match="at most 100"):
        layer.set_learnable_lambda()


def test_a_learned_p_stays_in_its_range_and_starts_where_told() -> None:
    layer = DistanceAttention(16, 4, "lp", p_norm=3.0, learnable_p=True)
    torch.testing.assert_close(layer.mechanism.p(), torch.full((4,), 3.0))
    assert layer.mechanism.log_p is not None
    with torch.no_grad():
        layer.mechanism.log_p.fill_(50.0)
    torch.testing.assert_close(layer.mechanism.p(), torch.full((4,), 64.0))
    with pytest.raises(InputError, match=r"start in \[0.25, 64\]"):
        DistanceAttention(16, 4, "lp", p_norm=0.1, learnable_p=True)


def test_beta_is_settable_saved_and_approaches_the_maximum() -> None:
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    layer = DistanceAttention(16, 2, "smooth_chebyshev", beta=1.0, scale=1.0).double().eval()
    hard = DistanceAttention(16, 2, "chebyshev", scale=1.0).double().eval()
    hard.load_state_dict({name: tensor for name, tensor in layer.state_dict().items() if name != "mechanism.beta"})
    apart = []
    for beta in (1.0, 10.0, 1e4):
        layer.mechanism.set_beta(beta)
        apart.append(float((layer(x) - hard(x)).detach().abs().max()))
    assert all(later < earlier / 2 for earlier, later in pairwise(apart))
    assert apart[-1] < 1e-3
    assert layer.state_dict()["mechanism.beta"] == 1e4
    for wrong in (0.0, -1.0, math.inf):
        with pytest.raises(InputError, match="beta must be"):
            layer.mechanism.set_beta(wrong)
    with pytest.raises(InputError, match="smooth_chebyshev"):
        hard.mechanism.set_beta(2.0)


def test_tied_keys_start_as_their_groups_first_query_and_are_free() -> None:
    layer = DistanceAttention(24, 6, num_key_value_heads=3)
    queries = layer.q_proj.weight.view(3, 2, 4, 24)[:, 0].reshape(12, 24)
    assert torch.equal(layer.k_proj.weight, queries)
    layer(torch.randn(2, 5, 24)).square().sum().backward()
    assert layer.k_proj.weight.grad is not None
    assert not torch.equal(layer.k_proj.weight.grad, layer.q_proj.weight.grad.view(3, 2, 4, 24)[:, 0].reshape(12, 24))
    free = DistanceAttention(24, 6, init_qk="independent")
    assert not torch.equal(free.k_proj.weight, free.q_proj.weight)


def test_residual_norm_and_weights() -> None:
    torch.manual_seed(1)
    bare = DistanceAttention(16, 2)
    torch.manual_seed(1)
    full = DistanceAttention(16, 2, use_residual=True, use_layer_norm=True, output_attentions=True)
    x = torch.randn(2, 5, 16)
    out, weights = full(x)
    torch.testing.assert_close(out, functional.layer_norm(x + bare(x), (16,)))
    assert weights.shape == (2, 2, 5, 5)
    assert isinstance(full(x, output_attentions=False), Tensor)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("positions", ["none", "rotary", "alibi"])
@pytest.mark.parametrize("window", [None, 4])
def test_step_by_step_with_a_cache_equals_all_at_once(kv_heads: int, positions: Any, window: int | None) -> None:
    layer = DistanceAttention(32, 4, "l2", num_key_value_heads=kv_heads, positions=positions, window=window).eval()
    x = torch.randn(2, 11, 32)
    full, cache = layer(x, is_causal=True), KeyValue()
    parts = [layer(piece, is_causal=True, cache=cache) for piece in x.split([4, 1, 1, 3, 1, 1], 1)]
    assert cache.length == 11
    assert (torch.cat(parts, 1) - full).abs().max() <= 1e-5


def test_a_context_is_projected_once() -> None:
    layer, cache = DistanceAttention(16, 2), KeyValue()
    x, context = torch.randn(2, 3, 16), torch.randn(2, 6, 16)
    first = layer(x, context, cache=cache)
    assert torch.equal(layer(x, torch.full_like(context, torch.nan), cache=cache), first)
    with pytest.raises(InputError, match="start a new cache"):
        layer(x, context[:, :5], cache=cache)


def test_rotary_positions_warn_where_they_do_not_stay_relative() -> None:
    with pytest.warns(UserWarning, match="chebyshev, l1 distances"):
        DistanceAttention(16, 2, ("l1", "chebyshev"), positions="rotary")
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    layer = DistanceAttention(16, 2, "l21", positions="rotary").double()
    near, far = (layer(x, positions=torch.arange(6)[None] + start) for start in (0, 900))
    torch.testing.assert_close(near, far, rtol=1e-5, atol=1e-5)  # angles are fp32


def test_a_cache_refuses_another_batch() -> None:
    layer, cache = DistanceAttention(16, 2), KeyValue()
    layer(torch.randn(2, 3, 16), cache=cache)
    with pytest.raises(InputError, match="start a new cache"):
        layer(torch.randn(3, 1, 16), cache=cache)
    cache.select(torch.tensor([1]))
    assert layer(torch.randn(1, 1, 16), cache=cache).shape == (1, 1, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "3 does not divide 16"),
        ({"num_heads": 0}, "whole number"),
        ({"hidden_size": -4}, "whole number"),
        ({"num_key_value_heads": 3}, "3 does not divide 4"),
        ({"distance_type": "l3"}, "expected one of"),
        ({"distance_type": "euclidean"}, "sqeuclidean"),
        ({"distance_type": ()}, "at least one"),
        ({"distance_type": ("l1", "l2")}, "one entry for each of the 4 heads, found 2"),
        ({"distance_type": "lp"}, "needs p > 0"),
        ({"distance_type": "lp", "p_norm": 0}, "p must be"),
        ({"distance_type": "lp", "p_norm": -2.0}, "p must be"),
        ({"distance_type": "lp", "p_norm": math.nan}, "p must be"),
        ({"distance_type": "l2", "p_norm": 2.0}, "takes no p"),
        ({"distance_type": "smooth_chebyshev"}, "needs beta > 0"),
        ({"learnable_p": True}, "learnable_p needs"),
        ({"lambda_param": -1.0}, "lambda_param must be"),
        ({"lambda_param": (1.0, 2.0)}, "one entry for each of the 4 heads"),
        ({"scale": "sqrt"}, "scale must be one of"),
        ({"scale": 0.0}, "scale must be"),
        ({"window": 0}, "window must be"),
        ({"dropout": -0.1}, "dropout must"),
        ({"positions": "rope"}, "positions must be one of"),
        ({"hidden_size": 12, "positions": "rotary", "distance_type": "l2"}, "even, found 3"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DistanceAttention(**{"hidden_size": 16, "num_heads": 4, **options})


@pytest.mark.parametrize(
    ("x", "call", "message"),
    [
        (torch.randn(5, 16), {}, r"\[batch, tokens, 16\]"),
        (torch.randn(2, 5, 8), {}, r"\[batch, tokens, 16\]"),
        (torch.ones(2, 5, 16, dtype=torch.int64), {}, "floating point"),
        (torch.randn(2, 5, 16), {"context": torch.randn(2, 5, 8)}, "context must be"),
        (torch.randn(2, 5, 16), {"context": torch.randn(2, 5, 16), "is_causal": True}, CAUSAL_WITH_CONTEXT),
        (torch.randn(2, 5, 16), {"attn_mask": torch.zeros(5, 6)}, "attn_mask"),
        (torch.randn(2, 5, 16), {"key_mask": torch.ones(2, 6, dtype=torch.bool)}, "key_mask"),
        (torch.randn(2, 5, 16), {"key_mask": torch.ones(2, 5)}, "key_mask"),
    ],
)
def test_bad_calls(x: Tensor, call: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DistanceAttention(16, 4)(x, **call)
