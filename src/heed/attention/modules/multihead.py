"""`torch.nn.MultiheadAttention` with any metric: its constructor, call, masks, return values and parameter names."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from heed.attention.distance.choose import Backend
from heed.attention.modules.check import floating, layer_of_torch
from heed.attention.modules.config import AttentionConfig, InitQK, MetricLike, Scale, heads_divide
from heed.attention.modules.mechanism import Mechanism
from heed.errors import InputError


class MultiheadAttention(nn.Module):
    """Drop-in for `torch.nn.MultiheadAttention`; with ``metric="dot"`` the same outputs, weights and gradients.

    All of torch's arguments mean what they mean there. In particular boolean masks say what to *ignore*, the
    opposite of the rest of heed: ``key_padding_mask`` True is padding, ``attn_mask`` True is hidden. ``metric`` and
    what follows it are described at `AttentionConfig`; ``metric`` may be a sequence of one for each head.

    The state dict has torch's names; ``mechanism.log_lambda`` (and ``log_p``) come in addition where they are learned.
    Seeded alike it starts with torch's own weights, unless ``init_qk="tied"`` copies the query projection into the
    key projection. Differences: a row that may see no key gives zeros, never NaN; returned weights are those before
    dropout. ``is_causal`` stays torch's hint that ``attn_mask``, which must come with it, is the causal one; it is then
    believed. Raises InputError where torch raises AssertionError, RuntimeError or ValueError.
    """

    in_proj_weight: nn.Parameter | None
    in_proj_bias: nn.Parameter | None
    q_proj_weight: nn.Parameter | None
    k_proj_weight: nn.Parameter | None
    v_proj_weight: nn.Parameter | None
    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None

    def __init__(  # noqa: PLR0917 - torch's constructor
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        metric: MetricLike | Sequence[MetricLike] = "l1",
        p: float | None = None,
        beta: float | None = None,
        lambda_param: float | Sequence[float] = 1.0,
        learnable_lambda: bool = False,
        learnable_p: bool = False,
        scale: Scale = "unit_variance",
        init_qk: InitQK = "independent",
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.head_dim = heads_divide(embed_dim, num_heads)
        self.embed_dim, self.num_heads, self.batch_first = embed_dim, num_heads, batch_first
        self.kdim, self.vdim, self.add_zero_attn = kdim or embed_dim, vdim or embed_dim, add_zero_attn
        config = AttentionConfig(
            metric=metric,
            p=p,
            beta=beta,
            lambda_param=lambda_param,
            learnable_lambda=learnable_lambda,
            learnable_p=learnable_p,
            scale=scale,
            dropout=dropout,
            init_qk=init_qk,
            bias=bias,
            backend=backend,
        )
        if init_qk == "tied" and self.kdim != embed_dim:
            raise InputError(f"init_qk='tied' needs kdim == embed_dim, found {self.kdim} and {embed_dim}")
        self._new_parameters(bias, add_bias_kv, {"device": device, "dtype": dtype})
        self.mechanism = Mechanism(config, num_heads, device=device, dtype=dtype)
        self.reset_parameters()

    @classmethod
    def from_torch(
        cls, mha: nn.MultiheadAttention, *, metric: MetricLike | Sequence[MetricLike], **options: Any
    ) -> Self:
        """A layer with the options and a copy of the weights of one of torch's; ``options`` as in the constructor.

        With another metric than "dot" it is another function: train it again. Raises InputError for another layer.
        """
        layer_of_torch(mha)
        weight = mha.out_proj.weight
        made = cls(
            mha.embed_dim,
            mha.num_heads,
            mha.dropout,
            mha.in_proj_bias is not None,
            mha.bias_k is not None,
            mha.add_zero_attn,
            mha.kdim,
            mha.vdim,
            mha.batch_first,
            weight.device,
            weight.dtype,
            metric=metric,
            **options,
        )
        made.load_state_dict({**made.state_dict(), **mha.state_dict()})
        return made.train(mha.training)

    @property
    def dropout(self) -> float:
        """Share of weights dropped in training."""
        return self.mechanism.config.dropout

    def reset_parameters(self) -> None:
        """Draw the input projections anew, in the order in which torch draws them."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                nn.init.xavier_normal_(extra)
        if self.mechanism.config.init_qk == "tied":
            with torch.no_grad():
                of_q, of_k, _ = self._weights()
                of_k.copy_(of_q)

    def set_learnable_lambda(self, learnable: bool = True) -> None:
        """Learn λ from here on, or keep it where it is; see `Mechanism.set_learnable_lambda`."""
        self.mechanism.set_learnable_lambda(learnable)

    def forward(  # noqa: PLR0917 - torch's call
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Output, and the weights (averaged over heads) or None; shapes and masks as in `torch.nn.MultiheadAttention`.

        ``query`` is ``[L, N, E]``, ``[N, L, E]`` with ``batch_first``, or ``[L, E]``. Weights are ``[N, L, S]``,
        or ``[N, H, L, S]`` with ``average_attn_weights=False``, and without N for one sequence. They take L×S memory:
        turn ``need_weights`` off where they are not used.
        """
        if is_causal and attn_mask is None:
            raise InputError("is_causal is a hint about attn_mask, which is missing; give the causal mask too")
        self._check(query, key, value)
        alone = query.dim() == 2
        together = query is key and key is value
        if alone:
            query, key, value = query[None], key[None], value[None]
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self._projected(query, key, value, together)
        mask, key_mask = self._masks(attn_mask, key_padding_mask, q.shape[:2], k.shape[1])
        extra: list[tuple[Tensor, Tensor]] = []
        if self.bias_k is not None and self.bias_v is not None:
            extra.append((self.bias_k, self.bias_v))
        if self.add_zero_attn:
            extra.append((k.new_zeros(1, 1, self.embed_dim), v.new_zeros(1, 1, self.embed_dim)))
        for more_k, more_v in extra:
            k, v = (torch.cat([x, more.expand(len(x), 1, -1)], 1) for x, more in ((k, more_k), (v, more_v)))
            mask, key_mask = _longer(mask), _longer(key_mask)
        causal = is_causal and not extra
        q, k, v = (x.view(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2) for x in (q, k, v))
        masks = {"attn_mask": None if causal else mask, "key_mask": key_mask, "is_causal": causal, "q_offset": 0}
        heads, aux = self.mechanism(q, k, v, **masks, return_aux=("weights",) if need_weights else ())
        out: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        weights = None if aux is None else aux.weights
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if alone:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else out.transpose(0, 1), weights

    def _new_parameters(self, bias: bool, add_bias_kv: bool, options: dict[str, Any]) -> None:
        """The parameters of torch's layer: one input matrix where all widths agree, else three."""
        width = self.embed_dim
        packed = self.kdim == width and self.vdim == width
        shapes: dict[str, tuple[int, ...] | None] = {
            "in_proj_weight": (3 * width, width) if packed else None,
            "q_proj_weight": None if packed else (width, width),
            "k_proj_weight": None if packed else (width, self.kdim),
            "v_proj_weight": None if packed else (width, self.vdim),
            "in_proj_bias": (3 * width,) if bias else None,
            "bias_k": (1, 1, width) if add_bias_kv else None,
            "bias_v": (1, 1, width) if add_bias_kv else None,
        }
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else nn.Parameter(torch.empty(shape, **options)))
        self.out_proj = nn.Linear(width, width, bias=bias, **options)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Projection matrices of query, key and value."""
        if self.in_proj_weight is not None:
            of_q, of_k, of_v = self.in_proj_weight.chunk(3)
            return of_q, of_k, of_v
        assert self.q_proj_weight is not None
        assert self.k_proj_weight is not None
        assert self.v_proj_weight is not None
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, together: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[N, S, E]``; self-attention takes one matrix product."""
        if together and self.in_proj_weight is not None:
            q, k, v = functional.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
            return q, k, v
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        parts = zip((query, key, value), self._weights(), biases, strict=True)
        q, k, v = (functional.linear(x, weight, bias) for x, weight, bias in parts)
        return q, k, v

    def _masks(
        self, attn_mask: Tensor | None, padding: Tensor | None, rows: torch.Size, keys: int
    ) -> tuple[Float[Tensor, "n h L S"] | None, Tensor | None]:
        """Torch's masks (True is hidden) as heed's (True may be seen); a float padding mask joins the additive one."""
        batch, length = rows
        mask = attn_mask
        if mask is not None:
            wanted = {2: (length, keys), 3: (batch * self.num_heads, length, keys)}
            if tuple(mask.shape) != wanted.get(mask.dim()):
                raise InputError(f"attn_mask must be {wanted[2]} or {wanted[3]}, found {tuple(mask.shape)}")
            mask = _seen(mask, "attn_mask")
            mask = mask.view(batch, self.num_heads, length, keys) if mask.dim() == 3 else mask[None, None]
        if padding is None:
            return mask, None
        if tuple(padding.shape) != (batch, keys):
            raise InputError(f"key_padding_mask must be {(batch, keys)} (batch, keys), found {tuple(padding.shape)}")
        padding = _seen(padding, "key_padding_mask")
        if padding.dtype == torch.bool:
            return mask, padding
        added = padding[:, None, None]
        if mask is None:
            return added, None
        if mask.dtype == torch.bool:
            return torch.where(mask, added, -torch.inf), None
        return mask + added, None

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        widths = {"query": (query, self.embed_dim), "key": (key, self.kdim), "value": (value, self.vdim)}
        for name, (x, _) in widths.items():
            floating(name, x, self.out_proj.weight)
        for name, (x, width) in widths.items():
            if x.dim() not in (2, 3) or x.dim() != query.dim() or x.shape[-1] != width:
                raise InputError(
                    f"{name} must be [tokens, {width}] or, in a batch, of three dimensions, alike for query, key and "
                    f"value; found {tuple(x.shape)} beside a query of {tuple(query.shape)}"
                )
        batch = 0 if self.batch_first else 1
        if key.shape[:-1] != value.shape[:-1] or (query.dim() == 3 and query.shape[batch] != key.shape[batch]):
            raise InputError(
                f"query, key and value must share the batch, key and value the length; found {tuple(query.shape)}, "
                f"{tuple(key.shape)}, {tuple(value.shape)} with batch_first={self.batch_first}"
            )


def _seen(mask: Tensor, name: str) -> Tensor:
    """A boolean mask turned around; one that is added stays."""
    if mask.dtype == torch.bool:
        return ~mask
    if not mask.is_floating_point():
        raise InputError(f"{name} must be boolean (True: ignore) or floating point (added), found {mask.dtype}")
    return mask


def _longer(mask: Tensor | None) -> Tensor | None:
    """One more key at the end, which everyone sees."""
    if mask is None:
        return None
    return functional.pad(mask, (0, 1), value=1 if mask.dtype == torch.bool else 0)
