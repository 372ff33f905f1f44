"""What follows from the formulas alone, for docs/mechanisms.md: temperatures, rotary positions, floors of a GPU.

Computed in seconds when the page is written; nothing here depends on how fast a machine is.
"""

import torch
from torch import Tensor

from heed.attention import METRICS, Metric, RotaryPositions, distance_attention
from page import table

WIDTH = 64
NAMES = (
    "dot",
    "sqeuclidean",
    "l2",
    "l1",
    "lp 0.5",
    "lp 3",
    "cosine",
    "chebyshev",
    "l21",
    "linf2",
    "smooth_chebyshev 4",
)
_OFFSET, _PLACES = 5, (0, 10, 100, 1000)


def _named(name: str) -> tuple[Metric, float | None]:
    metric, _, p = name.partition(" ")
    return METRICS[metric], float(p) if p else None


def _distance(name: str, q: Tensor, k: Tensor) -> Tensor:
    metric, p = _named(name)
    return metric.distance(q, k, None if p is None else torch.full((1, 1), p, dtype=q.dtype))


def temperatures() -> str:
    """Spread of the logits and mean row entropy of N(0, 1) queries and keys under both scales."""
    draw = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, rows, WIDTH, generator=draw) for rows in (256, 1024))
    rows = []
    for name in NAMES:
        metric, p = _named(name)
        spread = float(_distance(name, q, k).std(-1).mean())
        row = [f"`{name}`", f"{spread:.3g}", f"{float(metric.calibrated(WIDTH, p)):.3g}"]
        for scale in ("sqrt_dim", "unit_variance"):
            _, aux = distance_attention(q, k, k, metric=metric, p=p, scale=scale, return_aux=["entropy"])
            row.append(f"{float(aux.entropy.mean()):.3f}")
        rows.append(row)
    most = f"{float(torch.tensor(1024.0).log()):.3f}"
    head = [f"D = {WIDTH}", "deviation of distances over keys", "c of unit_variance"]
    head += ["entropy, sqrt_dim, nats", f"entropy, unit_variance, nats (a plain average over the keys: {most})"]
    return table(head, rows)


def rotations() -> str:
    """Distance of one query and one key, the same offset apart, at different places under rotary positions."""
    draw = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, WIDTH, generator=draw, dtype=torch.float64) for _ in range(2))
    rotary, rows = RotaryPositions(WIDTH).double(), []
    for name in NAMES:
        found = []
        for place in _PLACES:
            at_q, _ = rotary(q, q, torch.tensor([[place + _OFFSET]]))
            _, at_k = rotary(k, k, torch.tensor([[place]]))
            found.append(float(_distance(name, at_q, at_k)))
        same = max(found) - min(found) < 1e-3 * (abs(found[0]) + 1e-9)
        rows.append([f"`{name}`", *(f"{value:.4g}" for value in found), "yes" if same else "no"])
    return table([f"offset {_OFFSET}, key at", *map(str, _PLACES), "relative"], rows)


LANES, TENSOR, SPECIAL, MEMORY = 33.5e12, 989e12, 4.2e12, 4.8e12
"""H200 (SXM), datasheet: fp32 instructions, bf16 tensor FLOP, special functions and bytes of memory, per second."""

REACHED = 740e12
"""FLOP/s of FlashAttention-3 in its abstract (arXiv 2407.08608), for comparison."""


def floor(metric: str, width: int) -> float:
    """Least seconds for one query and one key: the busiest unit, if all units worked at once and never waited.

    Scores that are no product take two fp32 instructions for each coordinate (a difference, and a sum or maximum of
    absolute values), those of a general p two special functions; weights times values run on the tensor cores, and
    each weight takes one special function for the exponential.
    """
    product, special, lanes = 2 * width, 1.0, 0.0
    if metric in {"dot", "cosine", "sqeuclidean", "l2"}:
        product, special = 4 * width, 1.0 + (metric == "l2")
    elif metric == "lp":
        special += 2 * width
    else:
        lanes = 2.0 * width
    return max(product / TENSOR, special / SPECIAL, lanes / LANES)


def free_group(width: int = 128) -> float:
    """Query heads that may share a key head before L1's arithmetic takes longer than reading keys and values (bf16)."""
    return (4 * width / MEMORY) / (2 * width / LANES)


def floors() -> str:
    """Floors of a prefill beside what FlashAttention-3 reaches, and when decoding is bound by memory."""
    flash = {width: 4 * width / REACHED for width in (64, 128)}
    rows = [
        [f"`{name}`", *(f"{floor(name, width) * 1e12:.2f}" for width in flash)]
        + [f"{floor(name, width) / flash[width]:.1f}" for width in flash]
        for name in ("dot", "cosine", "sqeuclidean", "l2", "l1", "chebyshev", "lp")
    ]
    head = ["computed, not measured", *(f"ps for a pair, D = {width}" for width in flash)]
    head += [f"least time / FlashAttention-3's, D = {width}" for width in flash]
    told = f"Decoding reads keys and values once: L1 is free there up to {free_group():.0f} query heads for a key head."
    return f"{table(head, rows)}\n\n{told}"
