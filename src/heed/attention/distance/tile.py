"""What hides, biases and drops the logits of a call, for any tile of its rows and keys.

The reference asks for stretches of rows, tiles for pieces of them; the rules stand here once.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from heed.attention.distance.call import Call
from heed.attention.distance.dropout import kept


class Tile(NamedTuple):
    """Which rows, and which keys."""

    rows: slice
    keys: slice


def steps(count: int, step: int) -> list[slice]:
    """Consecutive slices of at most ``step`` that cover ``count``."""
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def reach(call: Call, rows: slice) -> slice:
    """The stretch of keys that causality and window let these rows see; at least one key."""
    first, last = rows.start + call.q_offset, rows.stop - 1 + call.q_offset
    n_keys = call.k.shape[2]
    start = 0 if call.window is None else first - call.window + 1
    stop = last + 1 if call.causal else n_keys if call.window is None else last + call.window
    start = min(max(start, 0), n_keys - 1)
    return slice(start, min(max(stop, start + 1), n_keys))


def biased(call: Call, logits: Float[Tensor, "B H q t"], tile: Tile) -> Float[Tensor, "B H q t"]:
    """Logits with additive mask and ALiBi (Press et al. 2022, arXiv 2108.12409), and -inf for hidden keys."""
    if call.mask is not None and call.mask.dtype != torch.bool:
        logits = logits + _cut(call.mask, tile)
    if call.alibi is not None:
        logits = logits - call.alibi.view(-1, 1, 1) * _back(call, tile).abs()
    seen = visible(call, tile)
    return logits if seen is None else logits.masked_fill(~seen, -torch.inf)


def visible(call: Call, tile: Tile) -> Bool[Tensor, "#B #H #q t"] | None:
    """Which keys a row may see; None where it sees all of them."""
    parts = []
    if call.causal or call.window is not None:
        back = _back(call, tile)[None, None]
        if call.causal:
            parts.append(back >= 0)
        if call.window is not None:
            parts.append(back.abs() < call.window)
    if call.key_mask is not None:
        parts.append(call.key_mask[:, None, None, tile.keys])
    if call.mask is not None and call.mask.dtype == torch.bool:
        parts.append(_cut(call.mask, tile))
    if not parts:
        return None
    seen = parts[0]
    for part in parts[1:]:
        seen = seen & part
    return seen


def dropped(call: Call, weights: Float[Tensor, "B H q t"], tile: Tile) -> Float[Tensor, "B H q t"]:
    """Weights after dropout; those that stay grow by 1/(1 - p)."""
    if call.seed is None:
        return weights
    batch, heads = weights.shape[:2]
    head = torch.arange(batch * heads, device=weights.device).view(batch, heads, 1, 1)
    row = torch.arange(tile.rows.start, tile.rows.stop, device=weights.device)[:, None]
    key = torch.arange(tile.keys.start, tile.keys.stop, device=weights.device)
    return weights * kept(call.seed, call.dropout_p, head, row, key) / (1 - call.dropout_p)


def grouped(x: Float[Tensor, "B H q n"], k: Float[Tensor, "B K T D"]) -> Float[Tensor, "B K G q n"]:
    """Query heads by the key head that serves them."""
    return x.reshape(x.shape[0], k.shape[1], x.shape[1] // k.shape[1], *x.shape[2:])


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """A caller's autocast would round products; where there is none, none is turned off (a graph would show it)."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _back(call: Call, tile: Tile) -> Tensor:
    """How far back from row i key j lies, i - j, ``[q, t]``."""
    rows = torch.arange(tile.rows.start, tile.rows.stop, device=call.q.device) + call.q_offset
    return rows[:, None] - torch.arange(tile.keys.start, tile.keys.stop, device=call.q.device)


def _cut(mask: Tensor, tile: Tile) -> Tensor:
    """The tile's part of a mask that may have one row or one key for all."""
    mask = mask if mask.shape[2] == 1 else mask[:, :, tile.rows]
    return mask if mask.shape[3] == 1 else mask[..., tile.keys]
