"""Scaled dot-product attention as a layer: the mechanism the distances stand beside."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from heed.attention.modules.config import AttentionConfig
from heed.attention.modules.mechanism import Mechanism


class ScaledDotProductAttention(nn.Module):
    """``softmax(q kᵀ / √D + mask) v`` over ready heads, without parameters; ``dropout`` drops weights in training.

    Vaswani et al. 2017 (arXiv 1706.03762), eq. 1. For projections and heads around it use
    `MultiheadAttention` or `DistanceAttention` with the metric ``"dot"``.
    """

    def __init__(self, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.mechanism = Mechanism(AttentionConfig(metric="dot", scale="sqrt_dim", dropout=dropout), num_heads)

    def forward(
        self,
        q: Float[Tensor, "B H Q D"],
        k: Float[Tensor, "B K T D"],
        v: Float[Tensor, "B K T E"],
        *,
        attn_mask: Tensor | None = None,
        key_mask: Bool[Tensor, "B T"] | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "B H Q E"], Float[Tensor, "B H Q T"] | None]:
        """Output and, where asked for, the weights. In both masks True may be seen; H is a multiple of K."""
        masks = {"attn_mask": attn_mask, "key_mask": key_mask}
        aux = ("weights",) if need_weights else ()
        out, found = self.mechanism(q, k, v, **masks, is_causal=is_causal, return_aux=aux)
        return out, None if found is None else found.weights
