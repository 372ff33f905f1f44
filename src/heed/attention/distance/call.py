"""One call of distance attention as a value: arguments checked, and λ·c folded into q and k for the kernels.

    s_ij = -strength · dist(q_i, k_j) + bias_ij        strength = λ·c, one number for each head
    P = softmax(s), O = P V

`Request` is what was asked for, in these terms. Norms are homogeneous, λ·dist(q, k) = dist(λq, λk), so a request folds
into a `Call` of strength 1, and a kernel needs neither λ nor its gradient.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from heed.attention.metric import Metric, unit


class Forward(NamedTuple):
    """What every path gives. Per-row values are fp32 (fp64 for fp64); a row that sees no key has zeros and lse -inf.

    ``lse``: logsumexp of s. ``entropy`` in nats, ``max_probability``: of the weights before dropout.
    ``mean_distance``: E[dist] under these weights, of the folded distance; for "dot" that is E[-q·k].
    """

    out: Float[Tensor, "B H Q E"]
    lse: Float[Tensor, "B H Q"]
    entropy: Float[Tensor, "B H Q"]
    max_probability: Float[Tensor, "B H Q"]
    mean_distance: Float[Tensor, "B H Q"]


class Grads(NamedTuple):
    """Gradients of the folded q and k, of v, and of p where the kernel has one."""

    q: Float[Tensor, "B H Q D"]
    k: Float[Tensor, "B K T D"]
    v: Float[Tensor, "B K T E"]
    p: Float[Tensor, " H"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a kernel gets: s = -dist(q, k) + bias, or q·k + bias for "dot".

    ``kernel``: "dot", "l1", "l2", "sqeuclidean", "lp", "chebyshev", "l21" or "linf2". ``p``: fp32 (fp64 for fp64).
    ``mask``: 4 axes that broadcast to ``[B, H, Q, T]``; bool (True = may be seen) or additive in the dtype of ``p``.
    ``q_offset``: position of query row 0 among the keys, which ``causal``, ``window`` and ``alibi`` count from. A row
    at position i sees keys j <= i under ``causal``, and under ``window`` i - window < j (|i - j| < window without
    causal). ``alibi`` adds -slope·|i - j|. ``seed``: 0-d int64 tensor where torch's generator drew it. ``H`` is a
    multiple of ``K``; q, k and v share dtype and device and may have any strides.

    An unfolded call, which only `native.forward` takes and only where it decodes: ``strength`` is what the distances of
    each head are multiplied by, and the kernel may be "cosine", with logits strength · cos(q, k) + bias.
    """

    q: Float[Tensor, "B H Q D"]
    k: Float[Tensor, "B K T D"]
    v: Float[Tensor, "B K T E"]
    kernel: str
    p: Float[Tensor, " H"] | None = None
    mask: Tensor | None = None
    key_mask: Bool[Tensor, "B T"] | None = None
    causal: bool = False
    q_offset: int = 0
    window: int | None = None
    alibi: Float[Tensor, " H"] | None = None
    dropout_p: float = 0.0
    seed: int | Tensor | None = None
    strength: Float[Tensor, " H"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What the caller asked for: a call whose q and k are as given, its metric, and its strength λ·c.

    ``call.kernel`` is that of the folded call, or "" where only the reference knows the metric.
    """

    metric: Metric
    strength: float | Float[Tensor, " H"]
    call: Call

    @property
    def shift(self) -> float:
        """The constant of the distance that its kernel leaves out: the 1 in the cosine's 1 - cos."""
        return 1.0 if self.metric.name == "cosine" else 0.0

    def folded(self) -> Call:
        """The same attention with strength 1; logits lose the constant ``strength · shift``.

        Differentiable in q, k and λ, and rounded once to their dtype. Where λ differs between query heads that share
        keys, keys and values are repeated.
        """
        call = self.call
        if self.metric.name == "cosine":
            q, k = (unit(_wide(x)) for x in (call.q, call.k))
            return replace(call, q=_times(q, self.strength).to(call.q.dtype), k=k.to(call.k.dtype))
        if self.metric.name == "dot":
            return replace(call, q=_times(call.q, self.strength))
        if isinstance(self.strength, float) and self.strength == 1.0:
            return call
        factor = self.strength if self.metric.degree == 1 else self.strength**0.5
        k, v, repeats = call.k, call.v, call.q.shape[1] // call.k.shape[1]
        if isinstance(factor, Tensor) and repeats > 1:
            k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        return replace(call, q=_times(call.q, factor), k=_times(k, factor), v=v)

    def unfolded(self) -> Call:
        """The same logits as `folded`, with λ·c beside q and k: nothing but the kernel reads the keys."""
        call = self.call
        strength = (
            self.strength
            if isinstance(self.strength, Tensor)
            else call.q.new_full((call.q.shape[1],), self.strength, dtype=torch.float64)
        )
        return replace(call, kernel="cosine" if self.metric.name == "cosine" else call.kernel, strength=strength)


def _times(x: Tensor, factor: float | Tensor) -> Tensor:
    """Scale x by one number for each head, in the dtype of x; 16 bits are rounded once."""
    if not isinstance(factor, Tensor):
        return x * factor
    return (_wide(x) * factor.view(-1, 1, 1)).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    return x if x.itemsize >= 4 else x.float()
