"""Distance attention of a transformers model as a value and as what hangs on its attention modules.

`DistanceConfig` is what the model's configuration records; `Distance` is attached to each attention module and
holds the learned λ. Knows how a layer scores, not how a model calls it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heed.attention.metric import metric_of
from heed.attention.modules.config import MAX_LAMBDA, Config, Scale, check_lambda, one_of, plain_numbers, positive
from heed.attention.score import DistanceScore, DotScore, MixedScore, Rule
from heed.errors import InputError, UnsupportedModelError

IMPLEMENTATIONS: Mapping[str, str] = {
    f"heed_{metric}": metric
    for metric in ("l1", "l2", "sqeuclidean", "lp", "cosine", "chebyshev", "l21", "linf2", "dot")
}
"""What `attn_implementation` takes, and the metric that it stands for."""

RECORD = "heed_distance"
"""The name of the record in a configuration, and of what is attached to an attention module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceConfig(Config):
    """How a model attends by distance: ``softmax(-λ · c · dist(q, k))``.

    ``metric`` is one of l1, l2, sqeuclidean, lp, cosine, chebyshev, l21, linf2, dot; ``p`` > 0 belongs to lp. ``lam``
    is λ > 0, where ``learnable`` only its start (one for each head, or with ``per_head=False`` one a layer, at most
    100). ``scale`` is c: "unit_variance" (recommended), "sqrt_dim" for 1/√D, or a number; the dot product keeps the
    model's own. ``layers`` (counted in the order they run) and ``heads`` are those that attend by distance, None for
    all; the others keep the dot product.
    """

    metric: str = "l1"
    p: float | None = None
    lam: float = 1.0
    learnable: bool = False
    per_head: bool = True
    scale: Scale = "unit_variance"
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        plain_numbers(self)
        metric_of(self.metric)
        one_of("metric", self.metric, tuple(IMPLEMENTATIONS.values()))
        if (self.p is not None) != metric_of(self.metric).needs_p:
            wanted = "p > 0, for example p=3.0" if self.p is None else "no p"
            raise InputError(f"p: expected {wanted} for the metric {self.metric!r}, found {self.p!r}")
        if self.p is not None:
            positive("p", self.p)
        check_lambda(self.lam, learnable=self.learnable, name="lam")
        if isinstance(self.scale, str):
            one_of("scale", self.scale, ("sqrt_dim", "unit_variance"))
        else:
            positive("scale", self.scale)
        if self.metric == "dot" and self.scale != "unit_variance":
            raise InputError(f"scale: expected none for 'dot' (the model's own stays), found {self.scale!r}: use lam")
        for name, chosen in (("layers", self.layers), ("heads", self.heads)):
            if chosen is not None and not _are_indices(chosen):
                raise InputError(
                    f"{name}: expected different whole numbers from 0 on, or None for all, found {chosen!r}"
                )

    @property
    def implementation(self) -> str:
        """The name under which transformers knows it."""
        return f"heed_{self.metric}"


def _are_indices(chosen: object) -> bool:
    if not isinstance(chosen, tuple) or not all(isinstance(n, int) and not isinstance(n, bool) for n in chosen):
        return False
    return len(chosen) > 0 and len(set(chosen)) == len(chosen) and min(chosen) >= 0


class Distance(nn.Module):
    """How one attention module scores; its child while distance attention is installed.

    ``implementation`` is the name under which the model runs it and ``before`` the one that it had.
    """

    log_lambda: nn.Parameter | None

    def __init__(
        self,
        config: DistanceConfig,
        heads: int,
        *,
        implementation: str,
        before: str | None = None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.config, self.implementation, self.before, self.heads = config, implementation, before, heads
        chosen = tuple(range(heads)) if config.heads is None else config.heads
        if max(chosen) >= heads:
            raise InputError(f"heads: expected numbers below {heads}, found {chosen}")
        self.chosen = chosen
        start = torch.full((len(chosen) if config.per_head else 1,), math.log(config.lam), device=device)
        self.register_parameter("log_lambda", nn.Parameter(start) if config.learnable else None)

    @property
    def head_groups(self) -> list[list[int]]:
        """Heads of each call to `distance_attention` that one forward pass makes, in their order."""
        rest = [head for head in range(self.heads) if head not in self.chosen]
        return [list(group) for group in (self.chosen, rest) if group]

    def lam(self) -> float | Tensor:
        """λ of the chosen heads, at most 100 where it is learned (as in Swin v2, arXiv 2111.09883)."""
        if self.log_lambda is None:
            return self.config.lam
        lam = self.log_lambda.float().clamp(max=math.log(MAX_LAMBDA)).exp()
        return lam.expand(len(self.chosen))

    def options(self, scaling: float) -> dict[str, Any]:
        """What `distance_attention` is to compute for the chosen heads; ``scaling`` is the model's own."""
        config = self.config
        scale = scaling if config.metric == "dot" else config.scale
        return {"metric": config.metric, "p": config.p, "lam": self.lam(), "scale": scale}

    def rule(self, scaling: float, width: int, heads: int) -> Rule:
        """The same as the score rule of a reading, for queries of this width and number of heads."""
        config = self.config
        if config.metric == "dot" and self.log_lambda is None and config.heads is None:
            return DotScore(scaling * config.lam)
        lam = self.lam()
        strength = torch.full((heads,), 1.0, dtype=torch.float64)
        strength[list(self.chosen)] = lam.detach().cpu().double() if isinstance(lam, Tensor) else lam
        strength *= self._factor(scaling, width)
        distance = DistanceScore(config.metric, tuple(strength.tolist()), config.p)
        return distance if config.heads is None else MixedScore(config.heads, distance, DotScore(scaling))

    def _factor(self, scaling: float, width: int) -> float:
        """The constant c."""
        config = self.config
        if config.metric == "dot":
            return scaling
        if config.scale == "sqrt_dim":
            return float(width**-0.5)
        if config.scale == "unit_variance":
            return float(metric_of(config.metric).calibrated(width, config.p))
        return float(config.scale)


def attached(module: nn.Module) -> Distance | None:
    """What is attached to an attention module, if anything is."""
    found = getattr(module, RECORD, None)
    return found if isinstance(found, Distance) else None


def recorded(config: Any) -> DistanceConfig | None:
    """What a transformers configuration, or one of its parts, records.

    Raises
    ------
    UnsupportedModelError
        If the record is one that this heed cannot read.
    """
    for part in parts_of(config):
        values = getattr(part, RECORD, None)
        if values is not None:
            try:
                return DistanceConfig.from_dict(values)
            except (InputError, TypeError, AttributeError) as error:
                raise UnsupportedModelError(
                    f"expected a record of distance attention that heed wrote, found {values!r}: {error}"
                ) from error
    return None


def mechanism_of(hf: Any) -> str | None:
    """What distinguishes a model that attends by distance, in words; None for any other."""
    config = getattr(hf, "config", None)
    if config is None:
        return None
    names = sorted({part._attn_implementation for part in parts_of(config)} & IMPLEMENTATIONS.keys())
    record = recorded(config)
    return f"{names} {record}" if names or record is not None else None


def parts_of(config: Any) -> list[Any]:
    """A transformers configuration and all its parts, parents first."""
    parts = [config]
    for part in parts:
        parts.extend(own for name in part.sub_configs if (own := getattr(part, name, None)) is not None)
    return parts
