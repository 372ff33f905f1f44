"""Distance attention in plain torch: the specification that every other path is held to.

Any metric, any floating dtype (16 bits are computed in fp32), any order of derivative, any transform of torch. It is
dense: it costs the memory of ``[B, H, Q, T]`` and, inside a distance, of ``[B, H, Q, T, D]``. Where that is much, it
goes by stretches of rows, recomputed in the backward pass.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from heed.attention.distance.call import Forward, Request, wide
from heed.attention.distance.tile import Tile, biased, dropped, grouped, steps, without_autocast
from heed.attention.scale import between

_ELEMENTS = 1 << 22
"""Most differences of coordinates at once: 16 MB in fp32."""

Weights = Float[Tensor, "B H Q T"]


def attend(request: Request, *, weights: bool = False) -> tuple[Forward, Weights | None]:
    """Output, row statistics and, if wanted, the weights before dropout; all differentiable."""
    call = request.call
    batch, heads, rows, width = call.q.shape
    whole = torch.compiler.is_compiling()  # one graph of standard operations
    step = rows if whole else max(1, _ELEMENTS // (batch * heads * call.k.shape[2] * width))
    if step >= rows:
        return _rows(request, slice(0, rows), weights)
    parts = [_recomputed(request, some, weights) for some in steps(rows, step)]
    forward = Forward(*(torch.cat(values, 2) for values in zip(*(part[0] for part in parts), strict=True)))
    return forward, torch.cat([part[1] for part in parts if part[1] is not None], 2) if weights else None


def _recomputed(request: Request, rows: slice, weights: bool) -> tuple[Forward, Weights | None]:
    if not torch.is_grad_enabled():
        return _rows(request, rows, weights)
    result: tuple[Forward, Weights | None] = checkpoint(
        _rows, request, rows, weights, use_reentrant=False, preserve_rng_state=False
    )
    return result


def _rows(request: Request, rows: slice, weights: bool) -> tuple[Forward, Weights | None]:
    call = request.call
    tile = Tile(rows, slice(0, call.k.shape[2]))
    with without_autocast(call.q):
        distance = _distance(request, rows)
        logits = biased(call, -call.strength.view(-1, 1, 1) * distance, tile)
        empty = (logits == -torch.inf).all(-1, keepdim=True)
        highest = logits.amax(-1)
        logits = logits.masked_fill(empty, 0.0)
        p = logits.softmax(-1).masked_fill(empty, 0.0)
        lse = logits.logsumexp(-1).masked_fill(empty[..., 0], -torch.inf)
        attended = grouped(dropped(call, p, tile), call.k) @ wide(call.v).unsqueeze(2)
        out = attended.flatten(1, 2).to(call.v.dtype)
        mean = (p * distance.masked_fill(p == 0, 0.0)).sum(-1)
        entropy = torch.special.entr(p).sum(-1)
        return Forward(out, lse, entropy, p.amax(-1), mean, highest), p if weights else None


def _distance(request: Request, rows: slice) -> Float[Tensor, "B H q T"]:
    """Distances of query heads to the keys of their group; keys are not repeated."""
    call = request.call
    p = None if call.p is None else call.p.view(call.k.shape[1], -1, 1, 1)
    q, k = grouped(wide(call.q[:, :, rows]), call.k), wide(call.k).unsqueeze(2)
    return between(request.metric.distance, q, k, p).flatten(1, 2)
