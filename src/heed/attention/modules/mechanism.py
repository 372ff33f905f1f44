"""What lies between projected heads and their output: metrics, λ, p and β, and the call to `distance_attention`.

Every layer of this room holds one `Mechanism`; none scores by itself.
"""

import math
from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from heed.attention.distance.functional import Aux, distance_attention
from heed.attention.metric import Metric, metric_of
from heed.attention.modules.config import MAX_LAMBDA, AttentionConfig, check_lambda, positive
from heed.attention.modules.positions import alibi_slopes
from heed.attention.modules.result_cache import ResultCache
from heed.errors import InputError

P_RANGE = (0.25, 64.0)
"""A learned p stays within: below, one key takes all; above, it is Chebyshev's."""


class Mechanism(nn.Module):
    """Distance attention over heads ``q [B, H, Q, D]``, ``k [B, K, T, D]``, ``v [B, K, T, E]`` with its parameters.

    ``log_lambda [H]`` (λ = exp, clamped at log 100 as in Swin v2, arXiv 2111.09883) exists where λ is or was
    learned, ``log_p [H]`` where p is (clamped to [0.25, 64]), the buffer ``beta`` for ``"smooth_chebyshev"``; all are
    saved. Give ``log_lambda`` and ``log_p`` no weight decay: it would pull λ and p towards 1.

    Heads of different metrics are computed group by group. Raises InputError where a sequence of metrics or λ
    does not have one entry for each head.
    """

    log_lambda: nn.Parameter | None
    log_p: nn.Parameter | None
    fixed_lambda: Tensor | None
    beta: Tensor | None
    slopes: Tensor | None
    heads_0: Tensor

    def __init__(
        self,
        config: AttentionConfig,
        num_heads: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config, self.num_heads = config, num_heads
        self.result_cache: ResultCache | None = None
        """Set a `ResultCache` to remember results; it is passed over in training and where gradients are taken."""
        self.metrics = _per_head("metric", config.metric, num_heads)
        groups: dict[Metric, list[int]] = {}
        for head, metric in enumerate(self.metrics):
            groups.setdefault(metric_of(metric), []).append(head)
        self.groups = list(groups.items())
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        for number, (_, heads) in enumerate(self.groups):
            self.register_buffer(f"heads_{number}", torch.tensor(heads, device=device), persistent=False)
        lam = torch.tensor(_per_head("lambda_param", config.lambda_param, num_heads), **options)
        self.register_parameter("log_lambda", nn.Parameter(lam.log()) if config.learnable_lambda else None)
        fixed = isinstance(config.lambda_param, tuple) and not config.learnable_lambda
        self.register_buffer("fixed_lambda", lam if fixed else None, persistent=False)
        self.register_parameter("log_p", self._new_log_p(options) if config.learnable_p else None)
        self.register_buffer("beta", None if config.beta is None else torch.tensor(config.beta, **options))
        slopes = alibi_slopes(num_heads).to(**options) if config.positions == "alibi" else None
        self.register_buffer("slopes", slopes, persistent=False)

    @property
    def head_groups(self) -> list[list[int]]:
        """Heads of each call to `distance_attention` that one forward pass makes, in their order."""
        return [heads for _, heads in self.groups]

    def lam(self) -> float | Float[Tensor, " H"]:
        """λ > 0: one number for all heads while it is fixed, else one for each."""
        if self.log_lambda is not None:
            return _wide(self.log_lambda).clamp(max=math.log(MAX_LAMBDA)).exp()
        if self.fixed_lambda is not None:
            return self.fixed_lambda
        assert isinstance(self.config.lambda_param, float | int)
        return self.config.lambda_param

    def p(self) -> float | Float[Tensor, " H"] | None:
        """The exponent of the norm (of each head, where it is learned); entries of other metrics' heads are unused."""
        if self.log_p is None:
            return self.config.p
        return _wide(self.log_p).clamp(math.log(P_RANGE[0]), math.log(P_RANGE[1])).exp()

    def set_learnable_lambda(self, learnable: bool = True) -> None:
        """Learn λ from here on, one for each head, or keep it where it is.

        A λ that was learned stays in the state dict when it is frozen. Make the optimizer after this call.
        """
        if self.log_lambda is not None:
            self.log_lambda.requires_grad_(learnable)
        elif learnable:
            values = _per_head("lambda_param", self.config.lambda_param, self.num_heads)
            for value in values:
                check_lambda(value, learnable=True)
            self.log_lambda = nn.Parameter(torch.tensor(values, device=self.heads_0.device).log())
            self.fixed_lambda = None

    def set_beta(self, beta: float) -> None:
        """β of the smooth Chebyshev distance, > 0; raise it during training to approach the maximum."""
        positive("beta", beta)
        if self.beta is None:
            raise InputError(f"only 'smooth_chebyshev' takes a β, this layer has the metric {self.config.metric!r}")
        self.beta.fill_(beta)

    def forward(
        self,
        q: Float[Tensor, "B H Q D"],
        k: Float[Tensor, "B K T D"],
        v: Float[Tensor, "B K T E"],
        *,
        attn_mask: Tensor | None = None,
        key_mask: Bool[Tensor, "B T"] | None = None,
        is_causal: bool = False,
        q_offset: int | None = None,
        return_aux: Collection[str] = (),
    ) -> tuple[Float[Tensor, "B H Q E"], Aux | None]:
        """Output and, where asked for, `Aux`; masks and ``q_offset`` are those of `distance_attention`."""
        common = {"key_mask": key_mask, "is_causal": is_causal, "q_offset": q_offset, "return_aux": return_aux}
        if len(self.groups) == 1:
            return self._attend(self.groups[0][0], slice(None), (q, k, v), {**common, "attn_mask": attn_mask})
        parts = []
        for number, (metric, _) in enumerate(self.groups):
            heads: Tensor = getattr(self, f"heads_{number}")
            shared = heads // (q.shape[1] // k.shape[1])
            mask = attn_mask
            if mask is not None and mask.dim() > 2 and mask.shape[-3] > 1:
                mask = mask.index_select(-3, heads)
            picked = (q[:, heads], k[:, shared], v[:, shared])
            parts.append(self._attend(metric, heads, picked, {**common, "attn_mask": mask}))
        order = torch.cat([getattr(self, f"heads_{number}") for number in range(len(self.groups))]).argsort()
        return _joined(parts, order)

    def _attend(
        self, metric: Metric, heads: Tensor | slice, inputs: tuple[Tensor, Tensor, Tensor], common: dict[str, Any]
    ) -> tuple[Tensor, Aux | None]:
        """One metric's heads."""
        p = self.beta if metric.name == "smooth_chebyshev" else self.p() if metric.needs_p else None
        config, caching = self.config, self.result_cache is not None and not self.training
        attend = self.result_cache.attend if caching and self.result_cache is not None else distance_attention
        found = attend(
            *inputs,
            metric=metric,
            p=_of(p, heads),
            lam=_of(self.lam(), heads),
            scale=config.scale,
            window=config.window,
            alibi_slopes=_of(self.slopes, heads),
            dropout_p=config.dropout if self.training else 0.0,
            enable_gqa=inputs[0].shape[1] != inputs[1].shape[1],
            backend=config.backend,
            **common,
        )
        return found if isinstance(found, tuple) else (found, None)

    def _new_log_p(self, options: dict[str, Any]) -> nn.Parameter:
        p = self.config.p
        if p is None or not P_RANGE[0] <= p <= P_RANGE[1]:
            raise InputError(f"a learned p must start in [{P_RANGE[0]:g}, {P_RANGE[1]:g}], found {p}")
        return nn.Parameter(torch.full((self.num_heads,), math.log(p), **options))

    def extra_repr(self) -> str:
        """Metrics and what is learned."""
        learned = [name for name in ("log_lambda", "log_p") if getattr(self, name) is not None]
        return f"metric={self.config.metric!r}, num_heads={self.num_heads}, learned={learned}"


def _per_head(name: str, value: Any, num_heads: int) -> tuple[Any, ...]:
    """One entry for each head, from one for all or one for each."""
    values = value if isinstance(value, tuple) else (value,) * num_heads
    if len(values) != num_heads:
        raise InputError(
            f"{name} as a sequence must have one entry for each of the {num_heads} heads, found {len(values)}"
        )
    return values


def _joined(parts: list[tuple[Tensor, Aux | None]], order: Tensor) -> tuple[Tensor, Aux | None]:
    """Outputs and statistics of the groups, heads back in their order."""
    out = torch.cat([part[0] for part in parts], 1).index_select(1, order)
    auxes = [part[1] for part in parts if part[1] is not None]
    if not auxes:
        return out, None
    columns = zip(*auxes, strict=True)
    return out, Aux(*(None if column[0] is None else torch.cat(column, 1).index_select(1, order) for column in columns))


def _of(value: Any, heads: Tensor | slice) -> Any:
    """The entries of these heads, where there is one for each."""
    return value[heads] if isinstance(value, Tensor) and value.dim() else value


def _wide(x: Tensor) -> Tensor:
    return x if x.itemsize >= 4 else x.float()
