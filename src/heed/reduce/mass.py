"""From token weights to span masses, top keys, entropy and column sums: what a reading keeps instead of a map.

Comes in: one stretch of attention rows ``[B, H, q, T]``, fp32, each row summing to at most 1.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Rows = Float[Tensor, "B H q T"]


def span_mass(weights: Rows, members: Float[Tensor, "b T S"]) -> Float[Tensor, "B H q S"]:
    """Attention mass of each row on each span, in [0, 1]: the sum of the weights of the span's tokens.

    ``members[b, t, s]`` is 1 where token ``t`` of prompt ``b`` belongs to span ``s``.
    """
    batch, heads, rows, keys = weights.shape
    members = members.expand(batch, -1, -1).to(weights.dtype)
    return torch.bmm(weights.reshape(batch, heads * rows, keys), members).view(batch, heads, rows, -1)


def row_entropy(weights: Rows) -> Float[Tensor, "B H q"]:
    """Shannon entropy of each row in nats: 0 where one key takes all, ``log n`` where n keys share evenly.

    A row with a sink sums to less than 1; the sink's share adds nothing.
    """
    entropy: Tensor = torch.special.entr(weights)
    return entropy.sum(-1)


def top_keys(weights: Rows, n: int) -> tuple[Float[Tensor, "B H q n"], Int[Tensor, "B H q n"]]:
    """The ``n`` largest weights of each row and the keys they lie on, largest first."""
    values, keys = weights.topk(min(n, weights.shape[-1]), dim=-1)
    return values, keys


def column_mass(weights: Rows) -> Float[Tensor, "B H T"]:
    """What each key receives from these rows: the sum down the columns."""
    return weights.sum(2)
