"""One call of distance attention as a value.

    s_ij = -strength · dist(q_i, k_j) + bias_ij        strength = λ·c, one number for each head
    P = softmax(s), O = P V

`Request` is what was asked for, in these terms; `Call` is what a kernel gets.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from heed.attention.metric import Metric, unit


class Forward(NamedTuple):
    """What every path gives. Per-row values are fp32 (fp64 for fp64); a row that sees no key has zeros and lse -inf.

    ``lse``: logsumexp of s. ``entropy`` in nats, ``max_probability``: of the weights before dropout.
    ``mean_distance``: E[dist] under these weights; for "dot" that is E[-q·k]. ``highest``: the largest of what an
    engine compares, logits or -dist, from which its backward pass finds the weights again however large they are.
    """

    out: Float[Tensor, "B H Q E"]
    lse: Float[Tensor, "B H Q"]
    entropy: Float[Tensor, "B H Q"]
    max_probability: Float[Tensor, "B H Q"]
    mean_distance: Float[Tensor, "B H Q"]
    highest: Float[Tensor, "B H Q"]


class Rows(NamedTuple):
    """What a backward pass takes of each row: of the forward pass, and delta = (out · grad_out).sum(-1) - grad_lse."""

    max_probability: Float[Tensor, "B H Q"]
    mean_distance: Float[Tensor, "B H Q"]
    highest: Float[Tensor, "B H Q"]
    delta: Float[Tensor, "B H Q"]


class Grads(NamedTuple):
    """Gradients of q, k and v, and of strength and p where they are wanted.

    As engines give them the last two leave out what `fused` adds in one number, since sums of dS nearly cancel: that of
    strength is the sum of -dS·(dist - mean_distance), and that of p is taken of the power mean, (Σ |δ|^p / D)^(1/p).
    """

    q: Float[Tensor, "B H Q D"]
    k: Float[Tensor, "B K T D"]
    v: Float[Tensor, "B K T E"]
    strength: Float[Tensor, " H"] | None = None
    p: Float[Tensor, " H"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a kernel gets: s = -strength · dist(q, k) + bias, where "dot" is -q·k and "cosine" is -cos(q, k).

    ``kernel``: "dot", "l1", "l2", "sqeuclidean", "lp", "chebyshev", "l21", "linf2" or, for `native` alone, "cosine".
    ``strength``, ``p``: fp32 (fp64 for fp64). ``mask``: 4 axes that broadcast to ``[B, H, Q, T]``; bool (True = may be
    seen) or additive in the dtype of ``strength``.
    ``q_offset``: position of query row 0 among the keys, which ``causal``, ``window`` and ``alibi`` count from. A row
    at position i sees keys j <= i under ``causal``, and under ``window`` i - window < j (|i - j| < window without
    causal). ``alibi`` adds -slope·|i - j|. ``seed``: 0-d int64 tensor where torch's generator drew it. ``H`` is a
    multiple of ``K``; q, k and v share dtype and device and may have any strides.
    """

    q: Float[Tensor, "B H Q D"]
    k: Float[Tensor, "B K T D"]
    v: Float[Tensor, "B K T E"]
    kernel: str
    strength: Float[Tensor, " H"]
    p: Float[Tensor, " H"] | None = None
    mask: Tensor | None = None
    key_mask: Bool[Tensor, "B T"] | None = None
    causal: bool = False
    q_offset: int = 0
    window: int | None = None
    alibi: Float[Tensor, " H"] | None = None
    dropout_p: float = 0.0
    seed: int | Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What the caller asked for: a metric, and the call of its kernel.

    ``call.kernel`` is "" where only the reference knows the metric.
    """

    metric: Metric
    call: Call

    @property
    def shift(self) -> float:
        """The constant of the distance that its kernel leaves out: the 1 in the cosine's 1 - cos."""
        return 1.0 if self.call.kernel == "cosine" else 0.0


def directed(call: Call) -> Call:
    """The cosine as a product of directions, differentiable in q and k and rounded once; other calls as they are."""
    if call.kernel != "cosine":
        return call
    q, k = (unit(wide(x)).to(x.dtype) for x in (call.q, call.k))
    return replace(call, q=q, k=k, kernel="dot")


def wide(x: Tensor) -> Tensor:
    """fp32 for 16 bits, the tensor itself otherwise."""
    return x if x.itemsize >= 4 else x.float()
