"""A metric is a value: how far a query is from a key, and what may be assumed of that distance."""

import difflib
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from heed.attention import scale
from heed.attention.scale import Distance, P, UnitScale
from heed.errors import InputError

Kernel = Literal["dot", "l1", "l2", "sqeuclidean", "lp", "cosine", "chebyshev", "l21", "linf2"]

_ALSO_CALLED = {
    "manhattan": "l1",
    "taxicab": "l1",
    "cityblock": "l1",
    "laplace": "l1",
    "euclidean": "l2",
    "squared_l2": "sqeuclidean",
    "squared_euclidean": "sqeuclidean",
    "gaussian": "sqeuclidean",
    "rbf": "sqeuclidean",
    "minkowski": "lp",
    "angular": "cosine",
    "cosine_similarity": "cosine",
    "max": "chebyshev",
    "maximum": "chebyshev",
    "chessboard": "chebyshev",
    "linf": "chebyshev",
    "inf": "chebyshev",
    "dot_product": "dot",
    "inner_product": "dot",
}
"""What others call them: for hints alone."""


@dataclass(frozen=True, slots=True)
class Metric:
    """How far queries are from keys.

    ``distance(q, k, p)`` takes q ``[..., Q, D]``, k ``[..., T, D]`` and p (a tensor that broadcasts to the result, or
    None) and returns ``[..., Q, T]`` from differentiable torch operations; it is the definition of the metric. Logits
    are ``-λ·c·distance``. A metric of one's own needs a name and a distance, and runs on the reference path.

    ``needs_p``: the distance has a parameter p > 0.
    ``kernel``: the kernel that computes it; None where only plain torch does.
    ``rope_invariant``: rotary positions change it only through the difference of positions.
    ``paired``: its coordinates come in rotary pairs (d, d + D/2), so D must be even.
    ``unit_scale(D, p)``: the factor that gives logits unit variance (`heed.attention.scale`); sampled where None.
    """

    name: str
    distance: Distance
    needs_p: bool = False
    kernel: Kernel | None = None
    rope_invariant: bool = False
    paired: bool = False
    unit_scale: UnitScale | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"Metric: expected a name, found {self.name!r}")
        if not callable(self.distance):
            raise InputError(f"Metric {self.name!r}: expected distance(q, k, p) to call, found {self.distance!r}")
        if self.kernel is not None and self.kernel not in get_args(Kernel):
            raise InputError(
                f"Metric {self.name!r}: expected kernel {', '.join(map(repr, get_args(Kernel)))} or None, "
                f"found {self.kernel!r}; leave it out for a metric of your own"
            )

    def calibrated(self, width: int, p: P = None) -> float | Tensor:
        """The factor c of ``scale="unit_variance"`` for heads of this width; a tensor where p is one."""
        return (self.unit_scale or scale.sampled(self.distance))(width, p)


def metric_of(metric: str | Metric) -> Metric:
    """The metric of that name; a Metric is returned as it is.

    Raises `InputError` with the nearest names where there is none.
    """
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        raise InputError(f"metric: expected a name or a heed.attention.Metric, found {type(metric).__name__}")
    if metric in METRICS:
        return METRICS[metric]
    name = metric.lower().replace("-", "_").replace(" ", "_")
    near = difflib.get_close_matches(name, METRICS, n=3, cutoff=0.4)
    if known := difflib.get_close_matches(name, _ALSO_CALLED, n=1, cutoff=0.8):
        near = [_ALSO_CALLED[known[0]]]
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise InputError(f"metric: expected one of {', '.join(METRICS)} or a Metric, found {metric!r}; {hint}".rstrip("; "))


def unit(x: Tensor) -> Tensor:
    """Give x / √(‖x‖² + 1e-8) along the last axis: smooth, zero at zero, with a gradient of at most 1e4.

    A vector shorter than about 1e-4 counts as shorter than one. Plain normalisation has gradients of 1e12 there.
    """
    return x * (x.square().sum(-1, keepdim=True) + 1e-8).rsqrt()


def _difference(q: Tensor, k: Tensor) -> Tensor:
    return q.unsqueeze(-2) - k.unsqueeze(-3)


def _root(x: Tensor) -> Tensor:
    """Square root with gradient 0 at 0, the convention for a query that equals a key."""
    zero = x == 0
    return x.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def _dot(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return -(q @ k.transpose(-1, -2))


def _cosine(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return 1 - unit(q) @ unit(k).transpose(-1, -2)


def _l1(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return _difference(q, k).abs().sum(-1)


def _l2(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return _root(_sqeuclidean(q, k, p))


def _sqeuclidean(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return _difference(q, k).square().sum(-1)


def _chebyshev(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return _difference(q, k).abs().amax(-1)


def _lp(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    """(Σ|δ|^p)^(1/p), with the largest |δ| taken out first so that nothing overflows or vanishes."""
    assert p is not None
    size = _difference(q, k).abs()
    largest = size.detach().amax(-1)
    scale = largest.masked_fill((largest == 0) | largest.isinf(), 1.0)
    ratio, zero = size / scale.unsqueeze(-1), size == 0
    powers = (ratio.masked_fill(zero, 1.0) ** p.unsqueeze(-1)).masked_fill(zero, 0.0)
    same = largest == 0
    total = powers.sum(-1).masked_fill(same, 1.0)
    return (scale * total ** (1 / p)).masked_fill(same, 0.0)


def _pairs(q: Tensor, k: Tensor) -> Tensor:
    """2-norms of the rotary pairs (d, d + D/2) of the difference, ``[..., Q, T, D/2]``."""
    first, second = _difference(q, k).chunk(2, -1)
    return _root(first.square() + second.square())


def _l21(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return _pairs(q, k).sum(-1)


def _linf2(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    return _pairs(q, k).amax(-1)


def _smooth_chebyshev(q: Tensor, k: Tensor, p: Tensor | None) -> Tensor:
    """(1/β) log Σ exp(β|δ|), with p as β: every coordinate takes a share of the gradient; β → ∞ is Chebyshev."""
    assert p is not None
    return (_difference(q, k).abs() * p.unsqueeze(-1)).logsumexp(-1) / p


_ALL = (
    Metric("dot", _dot, kernel="dot", rope_invariant=True, unit_scale=scale.dot),
    Metric("l1", _l1, kernel="l1", unit_scale=scale.l1),
    Metric("l2", _l2, kernel="l2", rope_invariant=True, unit_scale=scale.l2),
    Metric("sqeuclidean", _sqeuclidean, kernel="sqeuclidean", rope_invariant=True, unit_scale=scale.sqeuclidean),
    Metric("lp", _lp, needs_p=True, kernel="lp", unit_scale=scale.lp),
    Metric("cosine", _cosine, kernel="cosine", rope_invariant=True, unit_scale=scale.cosine),
    Metric("chebyshev", _chebyshev, kernel="chebyshev"),
    Metric("l21", _l21, kernel="l21", rope_invariant=True, paired=True, unit_scale=scale.l21),
    Metric("linf2", _linf2, kernel="linf2", rope_invariant=True, paired=True),
    Metric("smooth_chebyshev", _smooth_chebyshev, needs_p=True),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""The built-in metrics by name."""
