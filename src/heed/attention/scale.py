"""How much to multiply a distance by so that its logits neither drown nor saturate: the constant c in -λ·c·dist.

``sqrt_dim`` is the published choice, c = 1/√D. It fits the dot product and L1 and nothing else: the distances of a
query to its keys spread like √D for L1, like a constant for L2 and Chebyshev and like 1/√D for the cosine, so 1/√D
leaves L2 close to a plain average over keys and turns L0.5 into a choice of one.

``unit_variance`` is c = 1/√(E_q Var_k dist(q, k)) for q and k drawn from N(0, I): the spread that 1/√D gives the dot
product, for every metric. Measured for 256 queries on 1,024 keys at D = 64 (6.931 nats is the plain average), the mean
row entropy under ``sqrt_dim`` is 6.66 for L1, 6.926 for L2, 6.931 for the cosine, 6.929 for Chebyshev and 0.14 for
L0.5, beside 6.43 for the dot product; under ``unit_variance`` it is between 6.43 and 6.59 for all of them.

Exact where moments are known. For X, Y in R^n with standard normal entries of correlation r,
E‖X‖‖Y‖ = 2 (Γ((n+1)/2)/Γ(n/2))² ₂F₁(-1/2, -1/2; n/2; r²); two keys seen from one query give r = 1/2. Elsewhere a sample
with a fixed seed, once for each width.
"""

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from heed.attention.constant import Function, constant
from heed.errors import InputError

P = float | Tensor | None
UnitScale = Callable[[int, P], float | Tensor]
Number = TypeVar("Number", float, Tensor)
Distance = Callable[[Tensor, Tensor, Tensor | None], Tensor]

_QUERIES, _KEYS, _CHUNK = 64, 512, 1 << 21


def dot(width: int, p: P) -> float:
    """Exact: Var_k(q·k) = ‖q‖²."""
    return 1 / math.sqrt(width)


def cosine(width: int, p: P) -> float:
    """Exact: the cosine of a fixed and a random direction has variance 1/D."""
    return math.sqrt(width)


def sqeuclidean(width: int, p: P) -> float:
    """Exact: each coordinate adds Var_k (q - k)² = 2 + 4q², which is 6 on average."""
    return 1 / math.sqrt(6 * width)


def l1(width: int, p: P) -> float:
    """Exact: a sum of D independent terms."""
    return 1 / math.sqrt(width * _norm_variance(1))


def l2(width: int, p: P) -> float:
    """Exact: one norm in D dimensions."""
    return 1 / math.sqrt(_norm_variance(width))


def l21(width: int, p: P) -> float:
    """Exact: a sum of D/2 independent norms in two dimensions."""
    return 1 / math.sqrt(width // 2 * _norm_variance(2))


def lp(width: int, p: P) -> float | Tensor:
    """Any p > 0, differentiable in a tensor p.

    Below 1 the large-D form by the delta method, exact at 1. Above 1 it is interpolated in 1/p between the exact values
    at 1 and 2 and sampled ones up to p = ∞. Logits were within 3 % of unit variance for D from 2 to 128.
    """
    if isinstance(p, Tensor):
        return _lp(width, p)
    assert p is not None
    return _lp_number(width, float(p))


def sampled(distance: Distance) -> UnitScale:
    """Unit scale of any distance by a sample of 64 queries and 512 keys with a fixed seed (exact to about 2 %).

    Of a tensor p one scale for each of its numbers, as constants: p gets its gradient through the distance alone.
    """

    def unit_scale(width: int, p: P) -> float | Tensor:
        if isinstance(p, Tensor):
            scales = [_sample(distance, width, one) for one in p.detach().flatten().tolist()]
            return p.detach().new_tensor(scales).view_as(p)
        return _sample(distance, width, p)

    return unit_scale


def between(distance: Distance, q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    """Give ``distance(q, k, p)``; raises InputError where its shape is not ``[..., Q, T]``."""
    found = distance(q, k, p)
    lead: torch.Size = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2])  # type: ignore[no-untyped-call]
    wanted = (*lead, q.shape[-2], k.shape[-2])
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        what = f"{tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InputError(
            f"distance of a Metric: expected {wanted} for q {tuple(q.shape)} and k {tuple(k.shape)}, found {what}; it "
            "must compare every query with every key: q.unsqueeze(-2) with k.unsqueeze(-3)"
        )
    return found


def _once(function: Function) -> Function:
    """Remember results; to torch.compile they are constants.

    They are computed in a thread of their own, where no mode of the caller reaches (the fake tensors of an export, a
    transform, autocast).
    """

    @cache
    def remembered(*args: Any) -> Any:
        with ThreadPoolExecutor(1) as alone:
            return alone.submit(function, *args).result()

    @wraps(function)
    def once(*args: Any) -> Any:
        return remembered(*args)

    return constant(cast(Function, once))


def _norm_variance(n: int) -> float:
    """E_q Var_k ‖q - k‖ in n dimensions; q - k has variance 2 in every entry."""
    ratio = math.exp(2 * (math.lgamma((n + 1) / 2) - math.lgamma(n / 2)))
    return 2 * n - 4 * ratio * _hypergeometric(-0.5, n / 2)


def _hypergeometric(a: Number, c: float) -> Number:
    """₂F₁(a, a; c; 1/4), whose terms shrink at least like 1/4^i for the small a used here."""
    term = total = a * 0 + 1
    for i in range(25):
        term = term * (a + i) ** 2 / ((c + i) * (1 + i)) / 4
        total = total + term
    return total


@_once
def _lp_number(width: int, p: float) -> float:
    return float(_lp(width, torch.tensor(p, dtype=torch.float64)))


def _lp(width: int, p: Tensor) -> Tensor:
    wide = p.double()
    small = _lp_small(width, wide.clamp(max=1.0))
    return torch.where(wide <= 1, small, _lp_large(width, wide.clamp(min=1.0))).to(p.dtype)


def _lp_small(width: int, p: Tensor) -> Tensor:
    """Delta method: dist = S^(1/p) with S a sum of D terms |δ|^p, so std dist = std S · S̄^(1/p - 1) / p."""
    mean = 2**p * ((p + 1) / 2).lgamma().exp() / math.sqrt(math.pi)
    square = 4**p * (p + 0.5).lgamma().exp() / math.sqrt(math.pi)
    spread = (width * (square - mean**2 * _hypergeometric(-p / 2, 0.5))).sqrt()
    return p / (spread * (width * mean) ** (1 / p - 1))


def _lp_large(width: int, p: Tensor) -> Tensor:
    """Cubic Hermite interpolation of log c in x = 1/p, so that a learned p meets no kink."""
    nodes = torch.tensor(_nodes(width), dtype=p.dtype, device=p.device)
    x = 1 / p
    right = torch.searchsorted(nodes[:, 0].contiguous(), x.detach()).clamp(1, len(nodes) - 1)
    (x0, y0, m0), (x1, y1, m1) = nodes[right - 1].unbind(-1), nodes[right].unbind(-1)
    step = x1 - x0
    t = (x - x0) / step
    rise = 3 * t**2 - 2 * t**3
    return (y0 + (y1 - y0) * rise + step * t * (1 - t) * (m0 * (1 - t) - m1 * t)).exp()


@_once
def _nodes(width: int) -> list[tuple[float, float, float]]:
    """(1/p, log c, slope) by rising 1/p; the slope at 1 is that of the form below 1."""
    from heed.attention.metric import METRICS

    p_norm, chebyshev = METRICS["lp"].distance, METRICS["chebyshev"].distance
    points = [(0.0, _sample(chebyshev, width, None))]
    points += [(1 / p, _sample(p_norm, width, p)) for p in (12.0, 6.0, 4.0, 3.0, 2.5)]
    points += [(1 / 2, l2(width, None)), (1 / 1.5, _sample(p_norm, width, 1.5)), (1.0, l1(width, None))]
    x, y = [at for at, _ in points], [math.log(value) for _, value in points]
    rise = [(y[i + 1] - y[i]) / (x[i + 1] - x[i]) for i in range(len(x) - 1)]
    near = _lp_small(width, torch.tensor([1 / (1 + 1e-4), 1.0], dtype=torch.float64)).log()
    slopes = [rise[0], *((a + b) / 2 for a, b in itertools.pairwise(rise)), float(near[0] - near[1]) / 1e-4]
    return list(zip(x, y, slopes, strict=True))


@_once
def _sample(distance: Distance, width: int, p: float | None) -> float:
    generator = torch.Generator("cpu").manual_seed(0)
    q, k = (torch.randn(n, width, generator=generator, dtype=torch.float32, device="cpu") for n in (_QUERIES, _KEYS))
    power = None if p is None else torch.full((1, 1), p, dtype=torch.float32, device="cpu")
    step = max(1, _CHUNK // (_KEYS * width))
    with torch.no_grad():
        parts = [between(distance, q[i : i + step], k, power).double().var(-1) for i in range(0, _QUERIES, step)]
    return float(torch.cat(parts).mean().rsqrt())
