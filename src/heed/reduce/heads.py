"""What tells one head from another: its sink, its look at the token before, its way of continuing repetitions.

Comes in: one stretch of attention rows ``[B, H, q, T]``, fp32, each row summing to at most 1, and which rows they are.
Goes out: one number for each head and row, in [0, 1]. Rows and keys count from the same token 0.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heed.reduce.mass import Rows

Each = Float[Tensor, "B H q"]


def sink_mass(weights: Rows, sinks: int = 1) -> Each:
    """Mass on the first ``sinks`` keys, where heads put attention they have no use for.

    Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks" (arXiv 2309.17453).
    """
    return weights[..., :sinks].sum(-1)


def offset_mass(weights: Rows, rows: Int[Tensor, " q"], offset: int = 1) -> Each:
    """Mass on the key ``offset`` tokens before each row; 0 where there is none. 1 is the previous-token head's."""
    keys = rows - offset
    there = (keys >= 0) & (keys < weights.shape[-1])
    index = keys.clamp(0, weights.shape[-1] - 1)[:, None].expand(*weights.shape[:2], -1, 1)
    return weights.gather(-1, index)[..., 0] * there


def repeats(ids: Int[Tensor, " T"], rows: Int[Tensor, " q"]) -> Bool[Tensor, "q T"]:
    """Which keys an induction head looks at: those whose previous token is the row's own token."""
    previous = torch.roll(ids, 1)
    keys = torch.arange(len(ids), device=ids.device)
    return (previous == ids[rows, None]) & (keys > 0) & (keys <= rows[:, None])


def induction_mass(weights: Rows, follows: Bool[Tensor, "q T"]) -> Each:
    """Mass on the keys that followed earlier occurrences of each row's token: the prefix-matching score.

    ``follows`` comes from `repeats`. Olsson et al. 2022, "In-context Learning and Induction Heads" (arXiv 2209.11895).
    """
    return (weights * follows).sum(-1)


def mean_where(values: Each, counts: Bool[Tensor, " q"]) -> Float[Tensor, "B H"]:
    """Mean over the rows that count; NaN where none does."""
    return values[..., counts].mean(-1)
