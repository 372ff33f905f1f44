"""Distance attention in tiles of plain torch: no compiler, no matrix of rows by keys, on any device.

The forward pass holds the logits of one stretch of rows; the backward pass recomputes them tile by tile. Every metric
that has a kernel; the slow path for machines where no faster one can run.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from heed.attention.distance.call import Call, Forward, Grads, Rows, wide
from heed.attention.distance.tile import Tile, biased, dropped, grouped, reach, steps
from heed.attention.metric import METRICS

_LOGITS = 1 << 20
"""Most logits at once."""

_DIFFERENCES = 1 << 18
"""Most differences of coordinates at once: few enough for the cache."""


def forward(call: Call) -> Forward:
    """Output and row statistics of a call."""
    dtype, call = call.v.dtype, _wide(call)
    parts = []
    for rows in _stretches(call):
        tile = Tile(rows, reach(call, rows))
        distance = torch.cat([_distance(call, Tile(rows, keys)) for keys in _pieces(call, tile)], -1)
        logits = _logits(call, distance, tile)
        highest = logits.amax(-1)
        p = _below(logits, highest).exp_()
        total = p.sum(-1, keepdim=True)
        lse, p = highest + total.squeeze(-1).log(), p * _inverse(total)
        mean = (p * distance.masked_fill(p == 0, 0.0)).sum(-1)
        out = grouped(dropped(call, p, tile), call.k) @ call.v[:, :, tile.keys].unsqueeze(2)
        parts.append((out.flatten(1, 2), lse, torch.special.entr(p).sum(-1), p.amax(-1), mean, highest))
    out, *statistics = (torch.cat(values, 2) for values in zip(*parts, strict=True))
    return Forward(out.to(dtype), *statistics)


def backward(
    call: Call,
    of_rows: Rows,
    grad_out: Float[Tensor, "B H Q E"],
    *,
    needs_strength: bool = True,
    needs_p: bool = True,
) -> Grads:
    """Gradients of q, k and v, of strength where it is needed, and of p where it is and the kernel has one.

    At q = k and at equal coordinates they are 0; coordinates that are equally largest share.
    """
    dtype, call, grad_out = call.q.dtype, _wide(call), wide(grad_out)
    max_probability, mean_distance, highest, delta = of_rows
    grads = Grads(torch.zeros_like(call.q), torch.zeros_like(call.k), torch.zeros_like(call.v))
    grad_strength = torch.zeros_like(call.strength) if needs_strength else None
    grad_p = torch.zeros_like(call.p) if call.p is not None and needs_p else None
    for rows in _stretches(call):
        for keys in _pieces(call, Tile(rows, reach(call, rows))):
            tile = Tile(rows, keys)
            distance = _distance(call, tile)
            below = _below(_logits(call, distance, tile), highest[:, :, rows])
            p = below.exp_() * max_probability[:, :, rows, None]
            above = grouped(grad_out[:, :, rows], call.k)
            grads.v[:, :, keys] += _by_group(grouped(dropped(call, p, tile), call.k), above)
            grad_p_tile = (above @ call.v[:, :, keys].unsqueeze(2).transpose(-1, -2)).flatten(1, 2)
            slope = p * (delta[:, :, rows, None] - dropped(call, grad_p_tile, tile))
            if grad_strength is not None:
                apart = (distance - mean_distance[:, :, rows, None]).masked_fill(p == 0, 0.0)
                grad_strength += (slope * apart).sum((0, 2, 3))
            slope = slope * call.strength.view(-1, 1, 1)
            at_q, at_k = _pulled(call, tile, distance, slope)
            grads.q[:, :, rows] += at_q
            grads.k[:, :, keys] += at_k
            if grad_p is not None:
                grad_p += (slope * _power_slope(call, tile, distance)).sum((0, 2, 3))
    return Grads(grads.q.to(dtype), grads.k.to(dtype), grads.v.to(dtype), grad_strength, grad_p)


def _wide(call: Call) -> Call:
    return replace(call, q=wide(call.q), k=wide(call.k), v=wide(call.v))


def _stretches(call: Call) -> list[slice]:
    batch, heads, rows, _ = call.q.shape
    return steps(rows, max(1, min(_LOGITS // (batch * heads * call.k.shape[2]), 256)))


def _pieces(call: Call, tile: Tile) -> list[slice]:
    """Pieces of the keys of a stretch whose differences fit."""
    (batch, heads, _, width), rows = call.q.shape, tile.rows.stop - tile.rows.start
    step = max(1, _DIFFERENCES // (batch * heads * rows * width))
    return [
        slice(tile.keys.start + piece.start, tile.keys.start + piece.stop)
        for piece in steps(tile.keys.stop - tile.keys.start, step)
    ]


def _below(logits: Tensor, highest: Tensor) -> Tensor:
    """Logits less the highest; those of a row that sees nothing stay -inf, NaN stays NaN."""
    return logits - highest.masked_fill(highest == -torch.inf, 0.0)[..., None]


def _logits(call: Call, distance: Tensor, tile: Tile) -> Float[Tensor, "B H q t"]:
    return biased(call, -call.strength.view(-1, 1, 1) * distance, tile)


def _distance(call: Call, tile: Tile) -> Float[Tensor, "B H q t"]:
    q, k, p = _operands(call, tile)
    return METRICS[call.kernel].distance(q, k, p).flatten(1, 2)


def _operands(call: Call, tile: Tile) -> tuple[Tensor, Tensor, Tensor | None]:
    """Query rows ``[B, K, G, q, D]``, keys ``[B, K, 1, t, D]`` and p ``[K, G, 1, 1]``."""
    p = None if call.p is None else call.p.view(call.k.shape[1], -1, 1, 1)
    return grouped(call.q[:, :, tile.rows], call.k), call.k[:, :, tile.keys].unsqueeze(2), p


def _by_group(left: Float[Tensor, "B K G q t"], right: Float[Tensor, "B K G q E"]) -> Float[Tensor, "B K t E"]:
    """``leftᵀ right`` summed over the query heads of a group."""
    return left.flatten(2, 3).transpose(-1, -2) @ right.flatten(2, 3)


def _pulled(call: Call, tile: Tile, distance: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the tile's q and k, where ``slope`` is that of the loss by the distance."""
    (q, k, p), slope = _operands(call, tile), grouped(slope, call.k)
    if call.kernel == "dot":
        return -(slope @ k).flatten(1, 2), -_by_group(slope, q)
    change = _CHANGES[call.kernel](q.unsqueeze(-2) - k.unsqueeze(-3), grouped(distance, call.k), p)
    change = change * slope.unsqueeze(-1)
    return change.sum(-2).flatten(1, 2), -change.sum((2, 3))


Change = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From differences ``[..., q, t, D]``, distances and p to the derivative of the distance by the difference."""


def _inverse(x: Tensor) -> Tensor:
    """1/x, and 0 for 0."""
    return x.reciprocal().masked_fill_(x == 0, 0.0)


def _l1(difference: Tensor, distance: Tensor, p: Tensor | None) -> Tensor:
    return difference.sign()


def _l2(difference: Tensor, distance: Tensor, p: Tensor | None) -> Tensor:
    return difference * _inverse(distance).unsqueeze(-1)


def _sqeuclidean(difference: Tensor, distance: Tensor, p: Tensor | None) -> Tensor:
    return 2 * difference


def _lp(difference: Tensor, distance: Tensor, p: Tensor | None) -> Tensor:
    assert p is not None
    ratio = difference.abs() * _inverse(distance).unsqueeze(-1)
    return difference.sign() * ratio.pow_(p.unsqueeze(-1) - 1).masked_fill_(difference == 0, 0.0)


def _chebyshev(difference: Tensor, distance: Tensor, p: Tensor | None) -> Tensor:
    return difference.sign() * _share(difference.abs(), distance)


def _l21(difference: Tensor, distance: Tensor, p: Tensor | None) -> Tensor:
    return difference * torch.cat([_inverse(_pair_norms(difference))] * 2, -1)


def _linf2(difference: Tensor, distance: Tensor, p: Tensor | None) -> Tensor:
    norms = _pair_norms(difference)
    return difference * torch.cat([_inverse(norms) * _share(norms, distance)] * 2, -1)


def _share(sizes: Tensor, distance: Tensor) -> Tensor:
    """One over the number of largest entries for each of them, 0 for the others."""
    largest = sizes == distance.unsqueeze(-1)
    return largest / largest.sum(-1, keepdim=True)


def _pair_norms(difference: Tensor) -> Tensor:
    first, second = difference.chunk(2, -1)
    return (first.square() + second.square()).sqrt_()


_CHANGES: dict[str, Change] = {
    "l1": _l1,
    "l2": _l2,
    "sqeuclidean": _sqeuclidean,
    "lp": _lp,
    "chebyshev": _chebyshev,
    "l21": _l21,
    "linf2": _linf2,
}


def _power_slope(call: Call, tile: Tile, distance: Tensor) -> Float[Tensor, "B H q t"]:
    """Of the power mean, ``(dist / p) (Σ r^p ln r + ln D / p)``, with ``r = |δ| / dist``: Σ r^p = 1."""
    q, k, p = _operands(call, tile)
    assert p is not None
    distance = grouped(distance, call.k)
    ratio = (q.unsqueeze(-2) - k.unsqueeze(-3)).abs() * _inverse(distance).unsqueeze(-1)
    total = torch.xlogy(ratio ** p.unsqueeze(-1), ratio).sum(-1) + math.log(q.shape[-1]) / p
    return (distance / p * total).flatten(1, 2)
