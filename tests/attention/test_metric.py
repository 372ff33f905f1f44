"""Metrics against their formulas, their conventions where formulas have none, and the scale that fits each of them."""

import math

import pytest
import torch
from torch import Tensor

from heed.attention.metric import METRICS, Metric, metric_of, unit
from heed.errors import InputError

P = {"lp": 2.5, "smooth_chebyshev": 6.0}


def power(name: str) -> Tensor | None:
    return torch.full((1, 1), P[name], dtype=torch.float64) if name in P else None


def distance(name: str, q: Tensor, k: Tensor) -> Tensor:
    return METRICS[name].distance(q, k, power(name))


def formula(name: str, q: list[float], k: list[float]) -> float:
    delta = [abs(a - b) for a, b in zip(q, k, strict=True)]
    half = len(delta) // 2
    pairs = [math.hypot(delta[d], delta[d + half]) for d in range(half)]
    dot = sum(a * b for a, b in zip(q, k, strict=True))
    return {
        "dot": -dot,
        "l1": sum(delta),
        "l2": math.dist(q, k),
        "sqeuclidean": math.dist(q, k) ** 2,
        "lp": sum(x**2.5 for x in delta) ** (1 / 2.5),
        "cosine": 1 - dot / math.hypot(*q) / math.hypot(*k),
        "chebyshev": max(delta),
        "l21": sum(pairs),
        "linf2": max(pairs),
        "smooth_chebyshev": math.log(sum(math.exp(6 * x) for x in delta)) / 6,
    }[name]


@pytest.mark.parametrize("name", METRICS)
def test_distance_is_its_formula(name: str) -> None:
    q, k = torch.randn(3, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    wanted = torch.tensor([[formula(name, a, b) for b in k.tolist()] for a in q.tolist()], dtype=torch.float64)
    torch.testing.assert_close(distance(name, q, k), wanted, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("cosine", "smooth_chebyshev")])
def test_norms_are_homogeneous_and_products_of_degree_two(name: str) -> None:
    q, k = torch.randn(2, 4, 6, dtype=torch.float64)
    wanted = (9 if name in ("dot", "sqeuclidean") else 3) * distance(name, q, k)
    torch.testing.assert_close(distance(name, 3 * q, 3 * k), wanted)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("dot", "cosine", "smooth_chebyshev")])
def test_a_query_that_equals_a_key_is_at_zero_and_pulls_on_nothing(name: str) -> None:
    q = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    same = distance(name, q, q.detach()).diagonal()
    (grad,) = torch.autograd.grad(same.sum(), q)
    assert same.tolist() == [0.0, 0.0]
    assert torch.equal(grad, torch.zeros_like(grad))


@pytest.mark.parametrize("name", ["chebyshev", "linf2"])
def test_equal_largest_coordinates_share_the_gradient(name: str) -> None:
    q = torch.tensor([[1.0, -1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(distance(name, q, torch.zeros(1, 4, dtype=torch.float64)).sum(), q)
    assert grad.tolist() == [[0.5, -0.5, 0.0, 0.0]]


@pytest.mark.parametrize("p", [0.3, 1.0, 3.0, 30.0, 300.0])
def test_lp_neither_overflows_nor_vanishes(p: float) -> None:
    for size in (1e-20, 1e20):
        q = torch.tensor([[1.0, 2.0, -2.0, 0.0]]) * size
        got = METRICS["lp"].distance(q, torch.zeros(1, 4), torch.full((1, 1), p))
        wanted = 2 * (2 + 0.5**p) ** (1 / p) * size
        assert float(got) == pytest.approx(wanted, rel=1e-5)


def test_lp_of_infinite_coordinates_is_infinite() -> None:
    q = torch.tensor([[torch.inf, 0.0]])
    assert METRICS["lp"].distance(q, torch.zeros(1, 2), torch.full((1, 1), 3.0)).tolist() == [[torch.inf]]


def rotated(x: Tensor, position: int) -> Tensor:
    """Rotary positions as transformers applies them: pairs (d, d + D/2)."""
    half = x.shape[-1] // 2
    angle = position * 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
    first, second = x.chunk(2, -1)
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


@pytest.mark.parametrize("name", METRICS)
def test_rope_invariance_is_as_the_flag_says(name: str) -> None:
    q, k = torch.randn(2, 1, 64, dtype=torch.float64)
    near, far = (distance(name, rotated(q, at + 5), rotated(k, at)) for at in (0, 1000))
    assert (abs(float(near - far)) < 1e-9) == METRICS[name].rope_invariant


@pytest.mark.parametrize("width", [2, 100])
@pytest.mark.parametrize("name", METRICS)
def test_calibrated_logits_have_unit_variance(name: str, width: int) -> None:
    metric = METRICS[name]
    q, k = torch.randn(96, width), torch.randn(512, width)
    p = torch.full((1, 1), P[name]) if name in P else None
    logits = torch.cat([metric.distance(some, k, p) for some in q.split(8)]) * metric.calibrated(width, P.get(name))
    assert float(logits.var(-1).mean()) == pytest.approx(1.0, abs=0.15)  # 96 queries: the sample itself strays by 6 %


@pytest.mark.parametrize("p", [0.4, 1.3, 2.2, 7.0, 50.0])
def test_lp_is_calibrated_between_its_nodes(p: float) -> None:
    q, k = torch.randn(96, 32), torch.randn(512, 32)
    logits = METRICS["lp"].distance(q, k, torch.full((1, 1), p)) * METRICS["lp"].calibrated(32, p)
    assert float(logits.var(-1).mean()) == pytest.approx(1.0, abs=0.15)


def test_lp_scale_is_exact_at_one_and_two_and_smooth_in_p() -> None:
    lp = METRICS["lp"]
    assert lp.calibrated(16, 1.0) == pytest.approx(METRICS["l1"].calibrated(16))
    assert lp.calibrated(16, 2.0) == pytest.approx(METRICS["l2"].calibrated(16))
    p = torch.tensor([0.7, 1.0, 1.2, 2.0, 3.0, 40.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: lp.calibrated(16, p), p)


def test_sampling_leaves_the_generator_of_torch_alone() -> None:
    before = torch.get_rng_state()
    Metric("mine", lambda q, k, p: (q.unsqueeze(-2) - k.unsqueeze(-3)).abs().sum(-1)).calibrated(7)
    assert torch.equal(before, torch.get_rng_state())


def test_unit_has_a_bounded_gradient_at_zero() -> None:
    x = torch.zeros(1, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(unit(x).sum(), x)
    assert float(grad.abs().max()) == pytest.approx(1e4)
    torch.testing.assert_close(unit(torch.tensor([3.0, 4.0])), torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("L1", "'l1'"), ("cosin", "'cosine'"), ("manhattan", "expected one of dot, l1"), (3, "found int")],
)
def test_unknown_metric_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        metric_of(name)
