"""Transformer blocks: encoder (attention, feed-forward) and decoder (attention, cross-attention, feed-forward).

Arguments are named as in nn.Transformer; attention is by any metric. Vaswani et al. 2017 (arXiv 1706.03762), section
3.1; ``norm_first`` is Xiong et al. 2020 (arXiv 2002.04745). Masks are heed's: True may be seen.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from heed.attention.modules.cache import DecoderKeyValue, KeyValue
from heed.attention.modules.config import Activation, AttentionConfig, probability
from heed.attention.modules.feedforward import FeedForward
from heed.attention.modules.layer import DistanceAttention
from heed.errors import InputError


class TransformerBlock(nn.Module):
    """What both blocks share: residuals around normalised sublayers, layouts, gradient checkpointing.

    Set ``gradient_checkpointing`` to compute a block again in the backward pass instead of keeping what lies inside it
    (Chen et al. 2016, arXiv 1604.06174); it takes effect in training, and a cache is then refused.
    """

    def __init__(self, dropout: float, norm_first: bool, batch_first: bool) -> None:
        super().__init__()
        probability("dropout", dropout)
        self.norm_first, self.batch_first = norm_first, batch_first
        self.gradient_checkpointing = False
        self.dropout = nn.Dropout(dropout)

    def _residual(self, x: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """``x + sublayer(norm(x))`` or ``norm(x + sublayer(x))``."""
        added: Tensor = x + self.dropout(sublayer(norm(x) if self.norm_first else x))
        return added if self.norm_first else norm(added)

    def _run(self, layers: Callable[..., Tensor], x: Tensor, memory: Tensor | None, options: dict[str, Any]) -> Tensor:
        """Turn to batch first, through the layers (checkpointed where asked for), and back."""
        if not self.batch_first:
            x, memory = x.transpose(0, 1), None if memory is None else memory.transpose(0, 1)
        inputs = (x,) if memory is None else (x, memory)
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            if options["cache"] is not None:
                raise InputError(
                    "a block that is checkpointed would fill the cache twice: call eval(), or drop the cache"
                )
            out: Tensor = checkpoint(layers, *inputs, use_reentrant=False, **options)
        else:
            out = layers(*inputs, **options)
        return out if self.batch_first else out.transpose(0, 1)


class TransformerEncoderBlock(TransformerBlock):
    """Self-attention and feed-forward; with ``is_causal`` and a cache it is the block of a decoder-only model.

    ``attention`` says how it attends (its dropout of weights and its biases included); left out, it is L1 with the
    block's ``dropout`` and ``bias``.

    Input and output are ``[B, S, d_model]``, or ``[S, B, d_model]`` with ``batch_first=False``, which is the default of
    torch's layer and not of this one.
    """

    def __init__(  # noqa: PLR0917 - torch's constructor
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "gelu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        *,
        attention: AttentionConfig | None = None,
    ) -> None:
        super().__init__(dropout, norm_first, batch_first)
        config = attention or AttentionConfig(dropout=dropout, bias=bias)
        self.self_attn = DistanceAttention.from_config(config, d_model, nhead)
        self.feed_forward = FeedForward(d_model, dim_feedforward, dropout, activation, bias=bias)
        self.norm1 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias)

    def forward(
        self,
        src: Float[Tensor, "B S d"],
        *,
        attn_mask: Tensor | None = None,
        key_mask: Bool[Tensor, "B T"] | None = None,
        is_causal: bool = False,
        positions: Int[Tensor, "b S"] | None = None,
        cache: KeyValue | None = None,
    ) -> Float[Tensor, "B S d"]:
        """The block's output; masks, positions and cache as in `DistanceAttention.forward`."""
        masks = {"attn_mask": attn_mask, "key_mask": key_mask, "is_causal": is_causal}
        return self._run(self._layers, src, None, {**masks, "positions": positions, "cache": cache})

    def _layers(self, x: Tensor, **options: Any) -> Tensor:
        x = self._residual(x, self.norm1, lambda y: self.self_attn(y, **options))
        return self._residual(x, self.norm2, self.feed_forward)


class TransformerDecoderBlock(TransformerBlock):
    """Causal self-attention, attention to a memory, feed-forward.

    ``attention`` sets the metric of both attentions; positions and window apply to self-attention alone, and the
    cross-attention's key projection starts independent of its query projection: they see different texts.
    """

    def __init__(  # noqa: PLR0917 - torch's constructor
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "gelu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        *,
        attention: AttentionConfig | None = None,
    ) -> None:
        super().__init__(dropout, norm_first, batch_first)
        config = attention or AttentionConfig(dropout=dropout, bias=bias)
        across = replace(config, positions="none", window=None, init_qk="independent")
        self.self_attn = DistanceAttention.from_config(config, d_model, nhead)
        self.cross_attn = DistanceAttention.from_config(across, d_model, nhead)
        self.feed_forward = FeedForward(d_model, dim_feedforward, dropout, activation, bias=bias)
        self.norm1 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm3 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias)

    def forward(
        self,
        tgt: Float[Tensor, "B S d"],
        memory: Float[Tensor, "B M d"],
        *,
        attn_mask: Tensor | None = None,
        key_mask: Bool[Tensor, "B T"] | None = None,
        memory_mask: Tensor | None = None,
        memory_key_mask: Bool[Tensor, "B M"] | None = None,
        is_causal: bool = True,
        positions: Int[Tensor, "b S"] | None = None,
        cache: DecoderKeyValue | None = None,
    ) -> Float[Tensor, "B S d"]:
        """The block's output; ``attn_mask`` and ``key_mask`` hide tokens of the target, the others the memory's."""
        own = {"attn_mask": attn_mask, "key_mask": key_mask, "is_causal": is_causal, "positions": positions}
        across = {"attn_mask": memory_mask, "key_mask": memory_key_mask}
        return self._run(self._layers, tgt, memory, {"own": own, "across": across, "cache": cache})

    def _layers(
        self, x: Tensor, memory: Tensor, *, own: dict[str, Any], across: dict[str, Any], cache: DecoderKeyValue | None
    ) -> Tensor:
        held = (None, None) if cache is None else (cache.own, cache.memory)
        x = self._residual(x, self.norm1, lambda y: self.self_attn(y, cache=held[0], **own))
        x = self._residual(x, self.norm2, lambda y: self.cross_attn(y, memory, cache=held[1], **across))
        return self._residual(x, self.norm3, self.feed_forward)
