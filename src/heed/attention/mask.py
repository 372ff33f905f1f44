"""Which keys a query may see, kept as one interval of keys for every row: O(S) memory instead of S×S.

Causal, sliding-window, chunked, packed, bidirectional and padded attention all leave each row one
unbroken stretch of visible keys. A mask whose rows have holes keeps its dense form.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Shape = Literal["causal", "full", "general"]
"""What a kernel may assume of all rows that see any key: lower triangle of a square, everything, nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Visible keys of each query row: key ``t`` of row ``q`` is visible iff ``start <= t < end``.

    ``B`` is 1 where all prompts share the mask. A row that sees nothing (a padded query) is empty:
    ``start == end``. ``q_offset`` and ``kv_offset`` are the absolute positions of row 0 and key 0.
    """

    start: Int[Tensor, "B Q"]
    end: Int[Tensor, "B Q"]
    n_keys: int
    shape: Shape = "general"
    dense: Bool[Tensor, "B Q T"] | None = None
    q_offset: int = 0
    kv_offset: int = 0

    @classmethod
    def full(cls, n_rows: int, n_keys: int, *, device: torch.device | str = "cpu") -> Self:
        """Every row sees every key."""
        start = torch.zeros(1, n_rows, dtype=torch.int64, device=device)
        return cls(start, start + n_keys, n_keys, "full")

    @classmethod
    def causal(
        cls,
        n_rows: int,
        n_keys: int,
        *,
        q_offset: int = 0,
        kv_offset: int = 0,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Row ``q`` sees the keys up to its own absolute position."""
        end = torch.arange(n_rows, device=device)[None] + (q_offset - kv_offset + 1)
        end = end.clamp(0, n_keys)
        square = q_offset == kv_offset and n_rows == n_keys
        last_row = n_rows == 1 and q_offset - kv_offset + 1 >= n_keys
        shape: Shape = "causal" if square else "full" if last_row else "general"
        return cls(torch.zeros_like(end), end, n_keys, shape, None, q_offset, kv_offset)

    @classmethod
    def build(
        cls,
        rows: Callable[[int, int], Bool[Tensor, "B q T"]],
        n_rows: int,
        *,
        step: int = 256,
        q_offset: int = 0,
        kv_offset: int = 0,
    ) -> Self:
        """Ask ``rows(first, count)`` for stretches of dense rows and keep their intervals.

        One stretch is in memory at a time, unless rows have holes: then the whole dense form is kept.
        """
        starts, ends, n_keys, holes = [], [], 0, False
        for first in range(0, n_rows, step):
            block = rows(first, min(step, n_rows - first))
            n_keys = block.shape[-1]
            count = block.sum(-1)
            start = block.byte().argmax(-1)
            end = torch.where(count > 0, n_keys - block.flip(-1).byte().argmax(-1), start)
            holes = holes or bool((end - start != count).any())
            starts.append(start)
            ends.append(end)
        start, end = torch.cat(starts, 1), torch.cat(ends, 1)
        dense = rows(0, n_rows) if holes else None
        full = dense is None and bool((start == 0).all() and (end == n_keys).all())
        return cls(start, end, n_keys, "full" if full else "general", dense, q_offset, kv_offset)

    def padded(self, real: Bool[Tensor, "B T"]) -> "Mask":
        """The same mask with padded keys hidden.

        Right padding under causal attention keeps its shape: no real row could see a padded key, and rows
        of padding become empty.
        """
        if bool(real.all()):
            return self
        first, last = real.int().argmax(-1, keepdim=True), real.sum(-1, keepdim=True)
        if bool((real.flip(-1).int().argmax(-1, keepdim=True) + first + last != self.n_keys).any()):
            return self._cut(real)
        last = last + first
        if self.shape == "causal" and bool((first == 0).all()):
            rows = torch.arange(self.start.shape[1], device=real.device)[None]
            end = torch.where(rows < last, self.end, 0)
            return replace(self, start=self.start.expand_as(end), end=end)
        start, end = self.start.maximum(first), self.end.minimum(last)
        dense = None if self.dense is None else self.dense & real[:, None]
        return replace(self, start=start, end=end.maximum(start), shape="general", dense=dense)

    def only_rows(self, real: Bool[Tensor, "B Q"]) -> "Mask":
        """The same mask with the other rows emptied: padded queries look at nothing."""
        start, end = self.start.expand_as(real), torch.where(real, self.end, self.start)
        dense = None if self.dense is None else self.dense & real[..., None]
        return replace(self, start=start, end=end, dense=dense)

    def _cut(self, real: Bool[Tensor, "B T"]) -> "Mask":
        """Padding in the middle of a prompt."""

        def rows(first: int, count: int) -> Tensor:
            index = torch.arange(first, first + count, device=real.device)[None]
            return self.visible(index, slice(0, self.n_keys)) & real[:, None]

        return Mask.build(rows, self.start.shape[1], q_offset=self.q_offset, kv_offset=self.kv_offset)

    def visible(self, rows: Int[Tensor, "B q"], keys: slice) -> Bool[Tensor, "B q t"]:
        """Which of ``keys`` the given rows see. ``B`` broadcasts where either side has 1."""
        if self.dense is not None:
            batch = max(self.dense.shape[0], rows.shape[0])
            dense = self.dense.expand(batch, -1, -1)[:, :, keys]
            index = rows.expand(batch, -1)[..., None].expand(-1, -1, dense.shape[-1])
            return dense.gather(1, index)
        batch = max(self.start.shape[0], rows.shape[0])
        rows = rows.expand(batch, -1)
        start = self.start.expand(batch, -1).gather(1, rows)[..., None]
        end = self.end.expand(batch, -1).gather(1, rows)[..., None]
        columns = torch.arange(keys.start, keys.stop, device=rows.device)
        return (columns >= start) & (columns < end)

    def reach(self, rows: slice | Int[Tensor, " q"]) -> slice:
        """The smallest stretch of keys that holds everything the rows see."""
        start, end = self.start[:, rows], self.end[:, rows]
        seen = end > start
        if not bool(seen.any()):
            return slice(0, 0)
        return slice(int(start[seen].min()), int(end.max()))

    def empty_rows(self) -> Bool[Tensor, "B Q"]:
        """Rows that see no key at all."""
        return self.end <= self.start
