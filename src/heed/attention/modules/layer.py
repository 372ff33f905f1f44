"""Distance attention as a layer: projections, heads and a cache around a `Mechanism`; ``[B, S, hidden]``."""

import warnings
from collections.abc import Sequence
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from heed.attention.distance.choose import Backend
from heed.attention.metric import metric_of
from heed.attention.modules.cache import KeyValue
from heed.attention.modules.check import floating
from heed.attention.modules.config import AttentionConfig, InitQK, MetricLike, Positions, Scale, heads_divide
from heed.attention.modules.mechanism import Mechanism
from heed.attention.modules.positions import RotaryPositions
from heed.errors import InputError


class DistanceAttention(nn.Module):
    """Multi-head attention by distance: ``softmax(-λ · c · dist(q_i, k_j)) v`` in each head.

    ``distance_type`` is a metric (a name or a `Metric`), or a sequence of one for each head; ``lambda_param``, λ > 0,
    and ``p_norm``, the p > 0 of ``"lp"``, go with it, as do ``beta``, ``scale``, ``window``, ``init_qk``, ``positions``
    and ``num_key_value_heads``, all described at `AttentionConfig`. ``dropout`` drops weights in training.
    ``use_residual`` adds the input to the output, ``use_layer_norm`` normalises last. ``output_attentions`` returns
    the weights as well, which takes S×S memory.

    Projections start Xavier-uniform with zero biases: normalised input then gives queries and keys of about unit
    variance, for which ``scale="unit_variance"`` is made. λ is learned as ``mechanism.log_lambda``; give it no weight
    decay. Raises InputError for heads that do not divide, unknown metrics, λ or p that are not positive, and
    inputs whose shape or dtype does not fit.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        distance_type: MetricLike | Sequence[MetricLike] = "l1",
        *,
        lambda_param: float | Sequence[float] = 1.0,
        p_norm: float | None = None,
        dropout: float = 0.0,
        use_learnable_lambda: bool = False,
        use_residual: bool = False,
        use_layer_norm: bool = False,
        output_attentions: bool = False,
        learnable_p: bool = False,
        beta: float | None = None,
        scale: Scale = "unit_variance",
        window: int | None = None,
        positions: Positions = "none",
        rope_theta: float = 10000.0,
        num_key_value_heads: int | None = None,
        init_qk: InitQK = "tied",
        bias: bool = True,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.config = config = AttentionConfig(
            metric=distance_type,
            p=p_norm,
            beta=beta,
            lambda_param=lambda_param,
            learnable_lambda=use_learnable_lambda,
            learnable_p=learnable_p,
            scale=scale,
            window=window,
            dropout=dropout,
            positions=positions,
            rope_theta=rope_theta,
            num_key_value_heads=num_key_value_heads,
            init_qk=init_qk,
            bias=bias,
            backend=backend,
        )
        self.head_dim = heads_divide(hidden_size, num_heads, num_key_value_heads)
        self.hidden_size, self.num_heads = hidden_size, num_heads
        self.num_key_value_heads = num_key_value_heads or num_heads
        self.use_residual, self.output_attentions = use_residual, output_attentions
        shared = self.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.k_proj = nn.Linear(hidden_size, shared, bias=bias)
        self.v_proj = nn.Linear(hidden_size, shared, bias=bias)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.mechanism = Mechanism(config, num_heads)
        self.rotary = _rotary(self.mechanism, self.head_dim) if positions == "rotary" else None
        self.layer_norm = nn.LayerNorm(hidden_size) if use_layer_norm else None
        self.reset_parameters()

    @classmethod
    def from_config(cls, config: AttentionConfig, hidden_size: int, num_heads: int) -> Self:
        """The bare layer of a configuration: no residual, no norm, no weights returned."""
        return cls(
            hidden_size,
            num_heads,
            config.metric,
            lambda_param=config.lambda_param,
            p_norm=config.p,
            dropout=config.dropout,
            use_learnable_lambda=config.learnable_lambda,
            learnable_p=config.learnable_p,
            beta=config.beta,
            scale=config.scale,
            window=config.window,
            positions=config.positions,
            rope_theta=config.rope_theta,
            num_key_value_heads=config.num_key_value_heads,
            init_qk=config.init_qk,
            bias=config.bias,
            backend=config.backend,
        )

    def reset_parameters(self) -> None:
        """Draw the projections anew; with ``init_qk="tied"`` a key head starts as its group's first query head."""
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.o_proj):
            nn.init.xavier_uniform_(projection.weight)
            if projection.bias is not None:
                nn.init.zeros_(projection.bias)
        if self.config.init_qk == "tied":
            heads = self.q_proj.weight.detach().view(self.num_key_value_heads, -1, self.head_dim, self.hidden_size)
            with torch.no_grad():
                self.k_proj.weight.copy_(heads[:, 0].flatten(0, 1))

    def set_learnable_lambda(self, learnable: bool = True) -> None:
        """Learn λ from here on, or keep it where it is; see `Mechanism.set_learnable_lambda`."""
        self.mechanism.set_learnable_lambda(learnable)

    def forward(
        self,
        hidden_states: Float[Tensor, "B Q hidden"],
        context: Float[Tensor, "B T hidden"] | None = None,
        *,
        attn_mask: Tensor | None = None,
        key_mask: Bool[Tensor, "B T"] | None = None,
        is_causal: bool = False,
        positions: Int[Tensor, "b Q"] | None = None,
        cache: KeyValue | None = None,
        output_attentions: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend from each row to ``context``, or to the rows themselves: ``[B, Q, hidden]``, and weights if asked for.

        ``attn_mask`` (boolean, True may be seen, or added to the logits) broadcasts to ``[B, H, Q, T]``, the shape of
        the weights; in ``key_mask`` True is a real key. ``cache`` holds the keys of earlier calls: T counts them, and
        row 0 stands behind them. With ``context`` it is filled once and then used again. ``positions`` are those of
        rotary embedding; they are counted on from the cache if left out.
        """
        self._check(hidden_states, context, is_causal)
        q = self._heads(self.q_proj(hidden_states))
        if context is None:
            q, k, v = self._own(q, hidden_states, positions, cache)
        else:
            k, v = self._of_context(context, cache)
        weigh = self.output_attentions if output_attentions is None else output_attentions
        masks = {"attn_mask": attn_mask, "key_mask": key_mask, "is_causal": is_causal}
        heads, aux = self.mechanism(q, k, v, **masks, return_aux=("weights",) if weigh else ())
        out: Tensor = self.o_proj(heads.transpose(1, 2).flatten(2))
        if self.use_residual:
            out = hidden_states + out
        if self.layer_norm is not None:
            out = self.layer_norm(out)
        return (out, aux.weights) if weigh else out

    def _own(
        self, q: Tensor, hidden: Tensor, positions: Tensor | None, cache: KeyValue | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, and keys and values of the same tokens behind those of the cache."""
        k, v = self._heads(self.k_proj(hidden)), self._heads(self.v_proj(hidden))
        if self.rotary is not None:
            if positions is None:
                first = 0 if cache is None else cache.length
                positions = torch.arange(first, first + hidden.shape[1], device=hidden.device)[None]
            q, k = self.rotary(q, k, positions)
        return q, *((k, v) if cache is None else cache.extend(k, v))

    def _of_context(self, context: Tensor, cache: KeyValue | None) -> tuple[Tensor, Tensor]:
        """Keys and values of another text, projected once where there is a cache."""
        if cache is None:
            return self._heads(self.k_proj(context)), self._heads(self.v_proj(context))
        if cache.keys is None or cache.values is None:
            return cache.extend(self._heads(self.k_proj(context)), self._heads(self.v_proj(context)))
        if (cache.keys.shape[0], cache.length) != tuple(context.shape[:2]):
            raise InputError(
                f"the cache was filled from a context of batch and length {(cache.keys.shape[0], cache.length)}, this "
                f"one has {tuple(context.shape[:2])}: start a new cache"
            )
        return cache.keys, cache.values

    def _heads(self, x: Tensor) -> Float[Tensor, "B h S D"]:
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def _check(self, hidden: Tensor, context: Tensor | None, is_causal: bool) -> None:
        for name, x in (("hidden_states", hidden), ("context", context)):
            if x is None:
                continue
            floating(name, x, getattr(self.q_proj, "weight", None))
            if x.dim() != 3 or x.shape[-1] != self.hidden_size:
                raise InputError(
                    f"{name} must be [batch, tokens, {self.hidden_size}], found {tuple(x.shape)}; reshape or project it"
                )
        if context is not None and (is_causal or self.config.positions != "none" or self.config.window is not None):
            raise InputError(
                "tokens of one text have no position among those of another: with a context, is_causal, window, rotary "
                "and ALiBi positions mean nothing; leave them out, or hide keys with attn_mask"
            )

    def extra_repr(self) -> str:
        """Sizes."""
        return f"hidden_size={self.hidden_size}, num_heads={self.num_heads}, key_value_heads={self.num_key_value_heads}"


def _rotary(mechanism: Mechanism, head_dim: int) -> RotaryPositions:
    """Rotary positions, with a warning where the metric does not keep them relative."""
    absolute = {metric.name for metric in map(metric_of, mechanism.metrics) if not metric.rope_invariant}
    if absolute:
        warnings.warn(
            f"under rotary positions {', '.join(sorted(absolute))} distances change with the absolute position, not "
            "only with the offset; 'l21', 'linf2', 'l2' and 'cosine' do not, nor does positions='alibi'",
            UserWarning,
            stacklevel=3,
        )
    return RotaryPositions(head_dim, mechanism.config.rope_theta)
