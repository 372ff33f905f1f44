"""Token embeddings: learned from scratch, started from word vectors, or read from a matrix that stays on disk."""

import math
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heed.attention.modules.check import token_ids
from heed.attention.modules.config import positive_int
from heed.attention.modules.pretrained import OOV, Alignment, WordVectors, align
from heed.errors import InputError


class TokenEmbedding(nn.Embedding):
    """A table of ``[vocab_size, d_model]`` vectors, N(0, 1/d_model) at first.

    ``scaled`` multiplies what is looked up by √d_model, so that it has unit variance while the same table serves as
    the output layer (Vaswani et al. 2017, arXiv 1706.03762, section 3.4). ``padding_idx`` is a token whose vector
    is zero and stays so.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        padding_idx: int | None = None,
        *,
        scaled: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        positive_int("vocab_size", vocab_size)
        positive_int("d_model", d_model)
        super().__init__(vocab_size, d_model, padding_idx, device=device)
        self.gain = math.sqrt(d_model) if scaled else 1.0

    @classmethod
    def mapped(cls, matrix: Float[Tensor, "V d"], padding_idx: int | None = None) -> Self:
        """An embedding that looks up rows of ``matrix`` (see `map_matrix`) without a copy and does not learn.

        Raises InputError for what is no floating-point matrix.
        """
        if not isinstance(matrix, Tensor) or matrix.dim() != 2 or not matrix.is_floating_point():
            found = f"{matrix.dtype} {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
            raise InputError(f"matrix: expected floating point [tokens, width], found {found}")
        made = cls(matrix.shape[0], matrix.shape[1], padding_idx, device="meta")
        made.weight = nn.Parameter(matrix, requires_grad=False)
        return made

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
        self._fill_padding_idx_with_zero()

    def start_from(
        self,
        vectors: WordVectors,
        vocabulary: Sequence[str] | Mapping[str, int],
        *,
        oov: OOV = "normal",
        lowercase: bool = False,
        seed: int = 0,
    ) -> Alignment:
        """Take over word vectors, aligned by `align`, as what a lookup gives; returns what was found and what not.

        Raises InputError where vocabulary or width differ from the table's.
        """
        matrix, report = align(vectors, vocabulary, oov=oov, lowercase=lowercase, seed=seed)
        if matrix.shape != self.weight.shape:
            raise InputError(
                f"the table is {tuple(self.weight.shape)} (tokens, width), the aligned vectors {tuple(matrix.shape)}: "
                "give the whole vocabulary and make d_model the width of the vectors"
            )
        with torch.no_grad():
            self.weight.copy_(matrix / self.gain)
            self._fill_padding_idx_with_zero()
        return report

    def forward(self, ids: Int[Tensor, "*N"]) -> Float[Tensor, "*N d"]:
        """The vector of each id; raises InputError for ids outside the vocabulary or of a dtype that is none."""
        token_ids(ids)
        if not torch.compiler.is_compiling() and ids.numel():
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= self.num_embeddings:
                raise InputError(f"token ids must lie in [0, {self.num_embeddings}), found {low} to {high}")
        return super().forward(ids) * self.gain
