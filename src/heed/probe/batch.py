"""Prompts side by side: ids padded to one length, and where each prompt's tokens came to lie.

Right padding is the default: under causal attention no real token can see what follows it, so the fused kernel
needs no mask at all. Knows token ids and spans, not models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heed.errors import InputError
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

Padding = Literal["right", "left"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """``ids`` is ``[B, T]``, padded on one side; ``lengths`` is ``[B]``."""

    prompts: tuple[Encoded, ...]
    ids: Int[Tensor, "B T"]
    lengths: Int[Tensor, " B"]
    padding: Padding

    @classmethod
    def of(
        cls,
        prompts: Sequence[Encoded],
        *,
        pad_id: int = 0,
        padding: Padding = "right",
        device: torch.device | str = "cpu",
    ) -> Self:
        """Pad prompts to the longest.

        Raises
        ------
        InputError
            If there is no prompt, or one without a token.
        """
        if not prompts or not all(len(prompt) for prompt in prompts):
            raise InputError("expected prompts of at least one token, found none: give some text")
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        width = int(lengths.max())
        ids = np.full((len(prompts), width), pad_id, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            where = slice(0, len(prompt)) if padding == "right" else slice(width - len(prompt), width)
            ids[row, where] = prompt.ids
        return cls(tuple(prompts), torch.from_numpy(ids).to(device), lengths.to(device), padding)

    @property
    def padded(self) -> bool:
        """Whether any prompt is shorter than the longest."""
        return bool((self.lengths < self.ids.shape[1]).any())

    def shift(self, item: int) -> int:
        """How many places padding moved the tokens of a prompt."""
        return self.ids.shape[1] - int(self.lengths[item]) if self.padding == "left" else 0

    def real(self) -> Int[Tensor, "B T"]:
        """1 where a token is real, 0 where it is padding."""
        places = torch.arange(self.ids.shape[1], device=self.ids.device)[None]
        if self.padding == "right":
            return (places < self.lengths[:, None]).long()
        return (places >= self.ids.shape[1] - self.lengths[:, None]).long()

    def position_ids(self) -> Int[Tensor, "B T"]:
        """Positions counted from each prompt's own first token."""
        return (self.real().cumsum(-1) - 1).clamp_min(0)

    def last_rows(self) -> Int[Tensor, "B 1"]:
        """The row of each prompt's last token."""
        if self.padding == "left":
            return torch.full_like(self.lengths, self.ids.shape[1] - 1)[:, None]
        return self.lengths[:, None] - 1

    def members(self, spans: Sequence[Sequence[TokenSpan]], *, extra: int = 0) -> Float[Tensor, "B N S"]:
        """1 where a position belongs to a span; ``spans[b][s]`` counts tokens of prompt ``b`` alone.

        ``extra`` leaves room for positions that are generated later; they belong to no span.

        Raises
        ------
        InputError
            If spans are missing or reach beyond their prompt.
        """
        if len(spans) != len(self.prompts):
            raise InputError(f"expected spans for {len(self.prompts)} prompts, found {len(spans)}")
        width = self.ids.shape[1] + extra
        members = torch.zeros(len(self.prompts), width, len(spans[0]), device=self.ids.device)
        for item, row in enumerate(spans):
            if len(row) != len(spans[0]):
                raise InputError("expected the same number of spans for each prompt, found different numbers")
            for column, span in enumerate(row):
                if span.end > int(self.lengths[item]):
                    raise InputError(
                        f"expected spans within the {int(self.lengths[item])} tokens of prompt {item}, "
                        f"found {span.start}..{span.end}"
                    )
                moved = span.shift(self.shift(item))
                members[item, moved.start : moved.end, column] = 1.0
        return members
