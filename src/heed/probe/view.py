"""One layer's attention, never as a matrix: q, k and what is needed to make any entry exact.

The same view answers inside a pass, where q and k live for a moment, and after it, from a trace. Rows and
columns are absolute positions of the prompt. It does not know models, prompts or what it is asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heed.attention.terms import Terms, finite
from heed.reduce import mass

if TYPE_CHECKING:
    from heed.text.attention import AttentionScene

Stack = Literal["encoder", "decoder"]
Kind = Literal["self", "cross"]
RowIndex = int | slice | Sequence[int] | Tensor
"""A row, a stretch, a list, or a tensor ``[B, q]`` of rows that differ from prompt to prompt."""

_BLOCK_ELEMENTS, _LEAST_ROWS = 1 << 19, 16
"""Weights computed at once: 2 MiB of fp32, which a core's cache holds, or at least so many rows."""
_SIXTEEN_BITS = 2
"""Bytes of a number below which the kernel's own logsumexp is only good to 5e-5: it is then computed again."""


@dataclass(frozen=True, slots=True, order=True)
class LayerKey:
    """Which attention layer: its stack, its index in the stack, and whether it attends to itself or across."""

    stack: Stack
    index: int
    kind: Kind = "self"

    def __str__(self) -> str:
        return f"{self.stack}.{self.index}.{self.kind}"


def usual(layers: Sequence[LayerKey]) -> tuple[LayerKey, ...]:
    """The layers that are meant when none are named: what looks across if anything does, else the last stack."""
    cross = tuple(key for key in layers if key.kind == "cross")
    return cross or tuple(key for key in layers if key.stack == layers[-1].stack)


@dataclass(frozen=True, slots=True, eq=False)
class LayerView:
    """Exact attention of one layer, computed on demand in fp32 from ``exp(s[q, t] - lse[q])``.

    ``lse`` may be None: it is then computed for the rows that are asked for. Rows of padding are zero.
    """

    key: LayerKey
    q: Float[Tensor, "B H Q D"]
    k: Float[Tensor, "B K T D"]
    terms: Terms
    lse_of_rows: Float[Tensor, "B H Q"] | None = None

    @property
    def first_row(self) -> int:
        """Position of the first row held: above 0 where earlier rows came from a cache."""
        return self.terms.mask.q_offset

    @property
    def first_key(self) -> int:
        """Position of the first key held: above 0 where a sliding cache has dropped keys."""
        return self.terms.mask.kv_offset

    @property
    def n_rows(self) -> int:
        """How many rows are held."""
        return self.q.shape[2]

    @property
    def n_keys(self) -> int:
        """How many keys are held."""
        return self.k.shape[2]

    def rows(self, rows: RowIndex) -> Float[Tensor, "B H q T"]:
        """Attention weights of whole rows: each sums to 1, to less where the layer has a sink, to 0 for padding.

        Raises
        ------
        IndexError
            If a row is not held by this view.
        """
        return torch.cat(list(self._blocks(self._local(rows))), 2)

    def mass(self, rows: RowIndex, members: Float[Tensor, "b N S"]) -> Float[Tensor, "B H q S"]:
        """Mass of each row on each span; ``members[b, t, s]`` is 1 where position ``t`` is in span ``s``."""
        held = members[:, self.first_key : self.first_key + self.n_keys]
        return torch.cat([mass.span_mass(block, held) for block in self._blocks(self._local(rows))], 2)

    def topk(self, rows: RowIndex, n: int) -> tuple[Float[Tensor, "B H q n"], Int[Tensor, "B H q n"]]:
        """The ``n`` heaviest keys of each row: weights and positions, heaviest first."""
        parts = [mass.top_keys(block, n) for block in self._blocks(self._local(rows))]
        values, keys = (torch.cat(part, 2) for part in zip(*parts, strict=True))
        return values, keys + self.first_key

    def entropy(self, rows: RowIndex | None = None) -> Float[Tensor, "B H q"]:
        """Shannon entropy of rows (all by default), in nats."""
        local = self._local(slice(None) if rows is None else rows)
        return torch.cat([mass.row_entropy(block) for block in self._blocks(local)], 2)

    def received(self, rows: RowIndex | None = None) -> Float[Tensor, "B H T"]:
        """What each key receives from rows (all by default), summed."""
        local = self._local(slice(None) if rows is None else rows)
        total = self.q.new_zeros(self.q.shape[0], self.q.shape[1], self.n_keys, dtype=torch.float32)
        for block in self._blocks(local):
            total += mass.column_mass(block)
        return total

    def tile(self, rows: slice, keys: slice) -> Float[Tensor, "B H q t"]:
        """A rectangle of the map, rows ``[start, stop)`` by keys ``[start, stop)``, whatever the prompt's length."""
        local = self._local(rows)
        start, stop, step = keys.indices(self.first_key + self.n_keys)
        if step != 1:
            raise IndexError(f"expected neighbouring keys, found a step of {step}")
        if start < self.first_key:
            raise IndexError(f"expected keys from {self.first_key} on, found {start}: earlier keys were dropped")
        return self._weights(local, slice(start - self.first_key, stop - self.first_key))

    def head(self, index: int) -> "LayerView":
        """One query head alone, with the keys of its group: a view of ``H = K = 1``, nothing copied.

        Raises
        ------
        IndexError
            If there is no such head.
        """
        heads, groups = self.q.shape[1], self.k.shape[1]
        if not 0 <= index < heads:
            raise IndexError(f"expected a head in [0, {heads}), found {index}")
        group = index // (heads // groups)
        lse = None if self.lse_of_rows is None else self.lse_of_rows[:, index : index + 1]
        q, k = self.q[:, index : index + 1], self.k[:, group : group + 1]
        return LayerView(self.key, q, k, self.terms.of_head(index), lse)

    def scene(self, tokens: Sequence[str] | None = None) -> "AttentionScene":
        """The layer as a picture; see `heed.probe.scene.describe_view`."""
        from heed.probe.scene import describe_view

        return describe_view(self, tokens)

    def _local(self, rows: RowIndex) -> Int[Tensor, "b q"]:
        """Absolute rows as indices into q; negative rows count from the end."""
        first, stop = self.first_row, self.first_row + self.n_rows
        if isinstance(rows, slice):
            begin, end, step = rows.indices(stop)
            index = torch.arange(max(begin, first if rows.start is None else begin), end, step)[None]
        elif isinstance(rows, Tensor):
            index = rows if rows.ndim == 2 else rows[None]
        else:
            index = torch.tensor([[rows] if isinstance(rows, int) else list(rows)], dtype=torch.int64)
        index = torch.where(index < 0, index + stop, index)
        if index.numel() and not first <= int(index.min()) <= int(index.max()) < stop:
            raise IndexError(f"expected rows in [{first}, {stop}), found {int(index.min())} to {int(index.max())}")
        return index.to(self.q.device) - first

    def _take(self, rows: Int[Tensor, "b q"]) -> Float[Tensor, "B H q D"]:
        if rows.shape[0] == 1:
            return self.q[:, :, rows[0]]
        batch = torch.arange(self.q.shape[0], device=self.q.device)[:, None]
        return self.q[batch, :, rows].transpose(1, 2)

    def _weights(self, rows: Int[Tensor, "b q"], keys: slice) -> Float[Tensor, "B H q t"]:
        q = self._take(rows)
        logits = self.terms.logits(q, self.k, rows, keys)
        whole = keys.start == 0 and keys.stop == self.n_keys
        if whole:
            lse = self.terms.with_sink(logits.logsumexp(-1))
        elif self.lse_of_rows is not None and self.q.element_size() > _SIXTEEN_BITS:
            lse = self._lse_at(rows)
        else:
            lse = self.terms.lse(q, self.k, rows)
        return (logits - finite(lse)[..., None]).exp_()

    def _lse_at(self, rows: Int[Tensor, "b q"]) -> Float[Tensor, "B H q"]:
        assert self.lse_of_rows is not None
        if rows.shape[0] == 1:
            return self.lse_of_rows[:, :, rows[0]]
        return self.lse_of_rows.gather(2, rows[:, None].expand(-1, self.q.shape[1], -1))

    def _blocks(self, rows: Int[Tensor, "b q"]) -> Iterator[Float[Tensor, "B H q T"]]:
        step = max(_LEAST_ROWS, _BLOCK_ELEMENTS // (self.q.shape[0] * self.q.shape[1] * self.n_keys))
        for first in range(0, max(1, rows.shape[1]), step):
            yield self._weights(rows[:, first : first + step], slice(0, self.n_keys))
