"""`ResultCache`: equal inputs are found again, and nothing else is."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from heed.attention import DistanceAttention, Metric, ResultCache, distance_attention
from heed.errors import InputError

RESULT_BYTES = 1 * 2 * 5 * 4 * 4


def inputs() -> list[Tensor]:
    return [torch.randn(1, 2, 5, 4) for _ in range(3)]


@torch.no_grad()
def test_equal_content_is_found_in_other_tensors() -> None:
    cache, (q, k, v) = ResultCache(), inputs()
    first = cache.attend(q, k, v, metric="l2", return_aux=("lse",))
    again = cache.attend(q.clone(), k.transpose(2, 3).contiguous().transpose(2, 3), v, metric="l2", return_aux=["lse"])
    assert isinstance(first, tuple)
    assert isinstance(again, tuple)
    wanted = distance_attention(q, k, v, metric="l2", return_aux=("lse",))
    for result in (first, again):
        assert torch.equal(result[0], wanted[0])
        assert torch.equal(result[1].lse, wanted[1].lse)
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.entries, stats.hit_rate) == (1, 1, 1, 0.5)


@torch.no_grad()
def test_whatever_differs_is_another_key() -> None:
    cache, (q, k, v) = ResultCache(), inputs()
    lam, mask = torch.ones(2), torch.ones(5, 5, dtype=torch.bool)
    base: dict[str, Any] = {"metric": "lp", "p": 3.0, "lam": lam, "attn_mask": mask, "is_causal": False}
    variants: list[tuple[Tensor, dict[str, Any]]] = [
        (q, base),
        (q + 1e-7, base),
        (q, {**base, "p": 3.5}),
        (q, {**base, "lam": lam * 2}),
        (q, {**base, "lam": lam[:1]}),
        (q, {**base, "attn_mask": mask.tril()}),
        (q, {**base, "is_causal": True}),
        (q, {**base, "scale": "sqrt_dim"}),
        (q, {**base, "metric": "smooth_chebyshev"}),
        (q, {**base, "return_aux": ("entropy",)}),
    ]
    for query, options in variants:
        cache.attend(query, k, v, **options)
    cache.attend(*(x.double() for x in (q, k, v)), **base)
    cache.attend(q, k, v)
    cache.attend(*(x.view(1, 1, 10, 4) for x in (q, k, v)))
    assert (cache.stats().hits, cache.stats().misses) == (0, len(variants) + 3)


@torch.no_grad()
def test_metrics_of_ones_own_are_told_apart_by_their_function() -> None:
    cache, (q, k, v) = ResultCache(), inputs()
    for factor in (1.0, 2.0):
        metric = Metric("mine", lambda a, b, p, f=factor: f * torch.cdist(a, b))  # type: ignore[misc]
        out = cache.attend(q, k, v, metric=metric, scale=1.0)
        assert isinstance(out, Tensor)
        assert torch.equal(out, distance_attention(q, k, v, metric=metric, scale=1.0))
    assert cache.stats().misses == 2


@torch.no_grad()
def test_results_are_copies() -> None:
    cache, (q, k, v) = ResultCache(), inputs()
    wanted = distance_attention(q, k, v)
    for _ in range(3):
        out = cache.attend(q, k, v)
        assert isinstance(out, Tensor)
        assert torch.equal(out, wanted)
        out.zero_()


@torch.no_grad()
def test_the_least_recently_used_leaves_first() -> None:
    cache, (q, k, v) = ResultCache(max_bytes=2 * RESULT_BYTES), inputs()
    for shift in (0, 1, 0, 2, 0, 1):  # 1 is dropped when 2 comes, 2 when 1 comes again
        cache.attend(q + shift, k, v)
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.evictions, stats.entries) == (2, 4, 2, 2)
    assert stats.bytes == 2 * RESULT_BYTES
    cache.clear()
    assert (cache.stats().entries, cache.stats().bytes, cache.stats().misses) == (0, 0, 0)


@torch.no_grad()
def test_a_result_larger_than_the_cache_is_not_kept() -> None:
    cache, (q, k, v) = ResultCache(max_bytes=RESULT_BYTES - 1), inputs()
    assert torch.equal(cache.attend(q, k, v), distance_attention(q, k, v))  # type: ignore[arg-type]
    assert (cache.stats().entries, cache.stats().misses, cache.stats().evictions) == (0, 1, 0)


def test_never_with_gradients_or_dropout() -> None:
    cache, (q, k, v) = ResultCache(), inputs()
    cache.attend(q, k, v)
    with torch.no_grad():
        cache.attend(q, k, v, dropout_p=0.5)
    stats = cache.stats()
    assert (stats.skipped, stats.hits, stats.misses, stats.entries) == (2, 0, 0, 0)


@torch.no_grad()
def test_a_layer_uses_it_in_evaluation_and_sees_its_parameters_change() -> None:
    layer = DistanceAttention(8, 2, ("l1", "l2"), use_learnable_lambda=True)
    layer.mechanism.result_cache = cache = ResultCache()
    x = torch.randn(2, 5, 8)
    layer(x)
    assert cache.stats().misses == 0
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    assert (cache.stats().hits, cache.stats().misses) == (2, 2)
    assert layer.mechanism.log_lambda is not None
    layer.mechanism.log_lambda.data += 1  # unseen by version counters
    before = cache.stats().hits
    layer.mechanism.result_cache = None
    wanted = layer(x)
    layer.mechanism.result_cache = cache
    assert torch.equal(layer(x), wanted)
    assert cache.stats().hits == before


def test_a_copy_of_a_layer_starts_with_an_empty_cache() -> None:
    layer = DistanceAttention(8, 2).eval()
    layer.mechanism.result_cache = ResultCache(max_bytes=999)
    with torch.no_grad():
        layer(torch.randn(1, 3, 8))
    copied = deepcopy(layer).mechanism.result_cache
    assert copied is not None
    assert (copied.max_bytes, copied.stats().entries) == (999, 0)


def test_threads_share_it() -> None:
    cache = ResultCache(max_bytes=3 * RESULT_BYTES)
    q, k, v = inputs()
    with torch.no_grad():
        wanted = [distance_attention(q + shift, k, v) for shift in range(5)]

    def ask(number: int) -> bool:
        with torch.no_grad():
            out = cache.attend(q + number % 5, k, v)
            return torch.equal(out, wanted[number % 5])  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
    stats = cache.stats()
    assert stats.hits + stats.misses == 200
    assert stats.entries <= 3
    assert stats.bytes == stats.entries * RESULT_BYTES


@torch.no_grad()
def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="max_bytes"):
        ResultCache(0)
    q, k, v = inputs()
    with pytest.raises(InputError, match="found 'l11'"):
        ResultCache().attend(q, k, v, metric="l11")
    with pytest.raises(InputError, match="cannot tell values of object apart"):
        ResultCache().attend(q, k, v, scale=object())
