"""Keys and values of tokens already read, so that the next token need not read them again.

Not to be confused with `ResultCache`, which remembers whole results.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heed.errors import InputError


@dataclass(slots=True, eq=False)
class KeyValue:
    """Keys ``[B, K, T, D]`` and values ``[B, K, T, E]`` of one attention layer; None before the first token."""

    keys: Float[Tensor, "B K T D"] | None = None
    values: Float[Tensor, "B K T E"] | None = None

    @property
    def length(self) -> int:
        """T: tokens held."""
        return 0 if self.keys is None else self.keys.shape[2]

    def extend(self, keys: Float[Tensor, "B K t D"], values: Float[Tensor, "B K t E"]) -> tuple[Tensor, Tensor]:
        """Append along T and return all. Raises InputError where batch, heads or widths differ from what is held."""
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
            return keys, values
        for name, held, new in (("keys", self.keys, keys), ("values", self.values, values)):
            if held.shape[:2] != new.shape[:2] or held.shape[3] != new.shape[3]:
                raise InputError(
                    f"the cache holds {name} of shape {tuple(held.shape)} (batch, heads, tokens, width), new ones "
                    f"are {tuple(new.shape)}: start a new cache for another batch"
                )
        self.keys, self.values = torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2)
        return self.keys, self.values

    def select(self, rows: Int[Tensor, " b"] | Bool[Tensor, " B"]) -> None:
        """Keep these rows of the batch, in this order (finished prompts leave, beams are copied)."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


@dataclass(slots=True, eq=False)
class DecoderKeyValue:
    """The cache of a decoder block: the tokens written so far, and the memory, which is projected only once."""

    own: KeyValue = field(default_factory=KeyValue)
    memory: KeyValue = field(default_factory=KeyValue)
