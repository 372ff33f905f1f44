"""From a mask as row intervals to the arguments of `distance_attention`, without a dense mask where none is needed.

Causal order, a sliding window and padding on either side are recognised from the intervals themselves, so nothing
depends on how transformers happened to describe them. Chunks, packed prompts and holes become a dense mask.
"""

from dataclasses import fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from heed.attention.mask import Mask
from heed.attention.terms import every_row


class Seen(NamedTuple):
    """What each row sees, in the words of `distance_attention`."""

    is_causal: bool = False
    q_offset: int | None = None
    window: int | None = None
    key_mask: Tensor | None = None
    attn_mask: Tensor | None = None


def seen(mask: Mask) -> Seen:
    """The same visibility; rows that the mask empties because they are padding may see something."""
    if mask.dense is None and mask.shape == "causal":
        return Seen(is_causal=True, q_offset=0)
    if mask.dense is None and mask.shape == "full":
        return Seen()
    plain = None if mask.dense is not None else _plain(mask)
    if plain is not None:
        return plain
    rows = every_row(mask.start.shape[1], mask.start.device)
    return Seen(attn_mask=mask.visible(rows, slice(0, mask.n_keys))[:, None])


class HandedOn(Mask):
    """A mask as `generate` hands it from one step of transformers to the next with a static cache: like a tensor."""

    __slots__ = ()
    ndim = 4

    @classmethod
    def of(cls, mask: Mask) -> "HandedOn":
        """The same mask."""
        return cls(**{field.name: getattr(mask, field.name) for field in fields(mask)})

    def contiguous(self) -> "HandedOn":
        """Itself."""
        return self


def last_row(mask: Mask) -> Bool[Tensor, "b 1 1 T"]:
    """The mask of a single row, dense."""
    return mask.visible(every_row(1, mask.start.device), slice(0, mask.n_keys))[:, None]


def _plain(mask: Mask) -> Seen | None:
    """Causal or not, one window or none, one stretch of real keys for each prompt; None if it is not of that kind."""
    start, end = mask.start, mask.end
    some = end > start
    if not bool(some.any()):
        return None
    first = start.masked_fill(~some, mask.n_keys).amin(1, keepdim=True)
    last = end.masked_fill(~some, 0).amax(1, keepdim=True)
    place = _positions(mask)
    for causal in (True, False):
        for window in (None, _window(mask, some & (start > first), some & (end < last), causal=causal)):
            low = first if window is None else first.maximum(place - window + 1)
            ahead = 1 if causal else window
            high = last if ahead is None else last.minimum(place + ahead)
            if bool((((start == low) & (end == high)) | ~some).all()):
                reach = _reach(mask, window, causal=causal)
                real = None if bool(((first <= reach[0]) & (last >= reach[1])).all()) else _between(mask, first, last)
                return Seen(causal, mask.q_offset - mask.kv_offset, window, real)
    return None


def _window(mask: Mask, cut_left: Tensor, cut_right: Tensor, *, causal: bool) -> int | None:
    """The window that a row with cut keys has; None where no row is cut."""
    place = _positions(mask)
    if bool(cut_left.any()):
        return int((place - mask.start + 1).expand_as(cut_left)[cut_left][0])
    if not causal and bool(cut_right.any()):
        return int((mask.end - place).expand_as(cut_right)[cut_right][0])
    return None


def _reach(mask: Mask, window: int | None, *, causal: bool) -> tuple[int, int]:
    """The first key that any row could see without padding, and the one behind the last."""
    place = _positions(mask)
    low = 0 if window is None else int(place[0, 0]) - window + 1
    ahead = 1 if causal else window
    return max(0, low), mask.n_keys if ahead is None else min(mask.n_keys, int(place[0, -1]) + ahead)


def _between(mask: Mask, first: Tensor, last: Tensor) -> Bool[Tensor, "B T"]:
    keys = torch.arange(mask.n_keys, device=first.device)
    return (keys >= first) & (keys < last)


def _positions(mask: Mask) -> Int[Tensor, "1 Q"]:
    """Where each row stands among the keys."""
    return every_row(mask.start.shape[1], mask.start.device) + (mask.q_offset - mask.kv_offset)
