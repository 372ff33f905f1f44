"""Few queries on long keys, by the kernel that reads keys where they lie, against the specification in fp64."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from heed.attention import distance_attention
from heed.attention.distance import native, reference
from heed.attention.distance.call import Call, Forward, Request
from heed.attention.metric import metric_of

pytestmark = pytest.mark.skipif(not native.status().available, reason=f"no kernel: {native.status().reason}")

METRICS = [(name, None) for name in ("dot", "l1", "l2", "sqeuclidean", "cosine", "chebyshev", "l21", "linf2")]
METRICS += [("lp", p) for p in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)]
NAMES = [name for name, _ in METRICS[:8]] + ["lp"]
VARIANTS = native.variants()
QUERIES = 1, 2, 7, 8, 9
"""Nine are a tile again, the others are read by rows."""


def request(
    name: str,
    queries: int,
    keys: int,
    width: int,
    *,
    heads: tuple[int, int] = (2, 2),
    dtype: torch.dtype = torch.float32,
    p: float | None = None,
    **options: Any,
) -> Request:
    """λ·c for each head, near what ``unit_variance`` takes."""
    head, kv_head = heads
    shapes = ((2, head, queries, width), (2, kv_head, keys, width), (2, kv_head, keys, width + 3))
    q, k, v = (torch.randn(shape, dtype=torch.float64).to(dtype) for shape in shapes)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    metric = metric_of(name)
    p = p or (2.5 if metric.needs_p else None)
    power = None if p is None else torch.full((head,), p, dtype=wide)
    options = {"q_offset": keys - queries, "p": power, **options}
    strength = torch.linspace(0.5, 1.5, head, dtype=wide) * metric.calibrated(width, p)
    return Request(metric, Call(q, k, v, metric.kernel or "", strength, **options))


def decoded(r: Request, variant: str | None = None) -> Forward:
    """By the kernel, with the distances of the request."""
    forward = native.forward(r.call, variant=variant)
    mean = (forward.mean_distance + r.shift).masked_fill(forward.lse == -torch.inf, 0.0)
    return forward._replace(lse=forward.lse - r.call.strength.view(-1, 1) * r.shift, mean_distance=mean)


def plain(r: Request, dtype: torch.dtype) -> Forward:
    names = [x for x in ("q", "k", "v", "strength", "p", "alibi", "mask") if getattr(r.call, x) is not None]
    given = {x: getattr(r.call, x) for x in names}
    given = {x: t.to(dtype) if t.is_floating_point() else t for x, t in given.items()}
    return reference.attend(replace(r, call=replace(r.call, **given)))[0]


def check(r: Request, variants: tuple[str, ...] = VARIANTS) -> None:
    """In fp64 equal to 1e-9; in fp32 at most twice as wrong as plain torch in fp32, and eight roundings."""
    exact, double = plain(r, torch.float64), r.call.q.dtype == torch.float64
    allowed = exact if double else plain(r, torch.float32)
    for variant in variants:
        got = decoded(r, variant)
        for what, truth in list(exact._asdict().items())[:-1]:  # the engine's own `highest` last
            value, same = getattr(got, what).double(), getattr(allowed, what).double()
            finite = truth.isfinite()
            assert torch.equal(value.isfinite(), finite), (variant, what)
            if finite.any():
                error, limit = (float((x - truth)[finite].square().mean().sqrt()) for x in (value, same))
                size = float(truth[finite].abs().max())
                bound = 1e-9 * (1 + size) if double else 2 * limit + 8 * 2**-24 * (1 + size)
                assert error <= bound, (variant, what, error, bound)


@pytest.mark.parametrize("queries", QUERIES)
@pytest.mark.parametrize(("name", "p"), METRICS)
def test_values_equal_the_specification(name, p, queries):
    torch.manual_seed(0)
    least = 2 if metric_of(name).paired else 1
    for keys, width in ((1, least), (63, 100), (130, 64), (64, 128)):
        check(request(name, queries, keys, width, p=p), VARIANTS if width == 64 else VARIANTS[:1])
    if least == 1:
        check(request(name, queries, 65, 63, p=p), VARIANTS[:1])
    check(request(name, queries, 130, 20, p=p, dtype=torch.float64))


def masks(queries: int, keys: int, heads: int) -> dict[str, dict[str, Any]]:
    seen, real = torch.rand(2, 1, queries, keys) > 0.3, torch.rand(2, keys) > 0.3
    seen[0, 0, queries // 2] = False
    added = torch.randn(1, heads, 1, keys).masked_fill(torch.rand(1, heads, 1, keys) > 0.8, -torch.inf)
    return {
        "causal": {"causal": True},
        "before the keys": {"causal": True, "q_offset": -3},
        "window": {"causal": True, "window": 70},
        "band": {"window": 9, "q_offset": 40},
        "boolean": {"mask": seen},
        "padding of single keys": {"key_mask": real},
        "padding of whole tiles": {"key_mask": (torch.arange(keys) > 128).expand(2, keys), "causal": True},
        "additive": {"mask": added, "causal": True},
        "alibi": {"alibi": torch.linspace(0, 0.05, heads), "window": 300},
        "dropout": {"seed": 3, "dropout_p": 0.4, "causal": True},
    }


@pytest.mark.parametrize("mask", list(masks(1, 1, 1)))
@pytest.mark.parametrize("name", NAMES)
def test_masks_biases_and_dropout(name, mask):
    torch.manual_seed(0)
    for queries, heads in ((1, (9, 3)), (7, (2, 2))):
        check(request(name, queries, 650, 16, heads=heads, **masks(queries, 650, heads[0])[mask]), VARIANTS[:1])


@pytest.mark.parametrize("name", NAMES)
def test_query_heads_that_share_keys(name):
    torch.manual_seed(0)
    for queries, heads in ((1, (9, 3)), (2, (9, 3)), (1, (8, 1)), (2, (4, 1)), (8, (1, 1))):
        assert native.decodes(request(name, queries, 2, 2, heads=heads).call)
        check(request(name, queries, 200, 64, heads=heads), VARIANTS[:1])


def test_powers_of_each_head_share_keys():
    torch.manual_seed(0)
    r = request("lp", 1, 200, 20, heads=(4, 1))
    check(replace(r, call=replace(r.call, p=torch.tensor([1.0, 2.5, 3.0, 0.6]))))


@pytest.mark.parametrize("name", NAMES)
def test_parts_of_the_keys_join_to_the_whole(name, monkeypatch):
    """Threads share the keys of a head; what each found is joined."""
    monkeypatch.setattr(native, "_THREAD_NUMBERS", 1)
    torch.manual_seed(0)
    before = torch.get_num_threads()
    hidden = {"key_mask": (torch.arange(2100) > 1200).expand(2, 2100)}  # some parts see no key at all
    for options in ({}, hidden, {"causal": True, "window": 700}, {"alibi": torch.tensor([0.01, 0.0, 0.1])}):
        r, results = request(name, 2, 2100, 16, heads=(3, 1), **options), []
        try:
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                results.append(decoded(r))
                check(r, VARIANTS[:1])
        finally:
            torch.set_num_threads(before)
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_see_nothing_are_zero(name):
    forward = decoded(request(name, 2, 1100, 16, mask=torch.zeros(1, 1, 2, 1100, dtype=torch.bool)))
    assert (forward.lse == -torch.inf).all()
    for value in (forward.out, forward.entropy, forward.max_probability, forward.mean_distance):
        assert value.count_nonzero() == 0


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_infinities_and_nan_give_what_the_formula_gives(name, variant):
    torch.manual_seed(0)
    r = request(name, 3, 1100, 16)
    r.call.q[0, 0, 0, 1], r.call.q[0, 1, 1, 2], r.call.k[1, 0, 5, 4] = torch.nan, torch.inf, -torch.inf
    r.call.k[1, 1, 1050, 3] = torch.nan
    got, wanted = decoded(r, variant), reference.attend(r)[0]
    torch.testing.assert_close(got.out, wanted.out, equal_nan=True)
    fair = wanted.lse != torch.inf  # a logit of +infinity, which only a product can have, makes lse NaN like the output
    torch.testing.assert_close(got.lse[fair], wanted.lse[fair], equal_nan=True)


def test_hidden_keys_are_never_read():
    torch.manual_seed(0)
    real = (torch.arange(330)[None] % 3 > 0) | (torch.arange(330)[None] < 128)
    r = request("l1", 1, 330, 16, key_mask=real.expand(2, -1))
    clean = decoded(r)
    r.call.k[:, :, ~real[0]], r.call.v[:, :, ~real[0]] = torch.nan, torch.nan
    assert torch.equal(decoded(r).out, clean.out)


@pytest.mark.parametrize("name", ["dot", "l1", "l21", "lp", "cosine"])
def test_any_strides(name):
    torch.manual_seed(0)
    r = request(name, 2, 130, 64)
    flat = decoded(r)
    for order in ((0, 2, 1, 3), (3, 2, 1, 0), (1, 0, 2, 3)):  # a cache laid out by positions, by coordinates, by heads
        q, k, v = (x.permute(order).contiguous().permute(order) for x in (r.call.q, r.call.k, r.call.v))
        again = decoded(replace(r, call=replace(r.call, q=q, k=k, v=v)))
        assert all(torch.equal(a, b) for a, b in zip(flat, again, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_16_bits_are_widened_exactly(name, dtype):
    torch.manual_seed(0)
    narrow = request(name, 2, 130, 64, dtype=dtype)
    q, k, v = (x.float() for x in (narrow.call.q, narrow.call.k, narrow.call.v))
    got, wanted = decoded(narrow), decoded(replace(narrow, call=replace(narrow.call, q=q, k=k, v=v)))
    assert torch.equal(got.out, wanted.out.to(dtype))
    assert torch.equal(got.lse, wanted.lse)


@pytest.mark.parametrize("name", NAMES)
def test_the_public_function_decodes_with_and_without_a_derivative(name):
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 4, 1, 16), torch.randn(1, 2, 200, 16), torch.randn(1, 2, 200, 16)
    lam = torch.tensor([0.5, 1.0, 1.5, 2.0])
    options = {"metric": name, "p": 3.0 if name == "lp" else None, "enable_gqa": True, "backend": "fused"}
    aux = "lse", "entropy", "max_probability", "mean_distance"
    for strength in (lam, 1.3):
        without, rows = distance_attention(q, k, v, lam=strength, return_aux=aux, **options)
        with_one, same = distance_attention(q.clone().requires_grad_(), k, v, lam=strength, return_aux=aux, **options)
        assert with_one.requires_grad
        assert not without.requires_grad
        torch.testing.assert_close(without, with_one.detach(), rtol=1e-4, atol=1e-5)
        for what in aux:
            torch.testing.assert_close(getattr(rows, what), getattr(same, what).detach(), rtol=1e-4, atol=1e-4)
