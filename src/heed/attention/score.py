"""The score rule of a mechanism: how a query and a key become a logit, as a value.

A reading carries the rule of the mechanism that produced it, so that attention is always recomputed
by the formula it was computed with.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from heed.attention.metric import metric_of
from heed.errors import InputError

_BLOCK_ELEMENTS = 1 << 22
"""Most differences of coordinates that exist at once."""


@dataclass(frozen=True, slots=True)
class DotScore:
    """Scaled dot product, ``s = scale * q·k``, optionally capped: ``s = softcap * tanh(s / softcap)``.

    Vaswani et al. 2017 (arXiv 1706.03762), eq. 1; the cap is Gemma 2's (arXiv 2408.00118, section 2).
    """

    scale: float
    softcap: float | None = None

    def logits(self, q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"]) -> Float[Tensor, "B H Q T"]:
        """Logits before mask, bias and sink, in fp32; ``H`` is a multiple of ``K``, and k is never repeated."""
        batch, heads, rows, width = q.shape
        groups = k.shape[1]
        grouped = q.float().reshape(batch, groups, heads // groups * rows, width)
        with torch.autocast(q.device.type, enabled=False):  # a caller's autocast would round the product
            scores = torch.matmul(grouped, k.float().transpose(-1, -2)).mul_(self.scale)
        if self.softcap is not None:
            scores = scores.div_(self.softcap).tanh_().mul_(self.softcap)
        return scores.view(batch, heads, rows, k.shape[2])


@dataclass(frozen=True, slots=True)
class DistanceScore:
    """``s = -strength · dist(q, k)``, by the definition of the metric of that name (`heed.attention.metric`).

    ``strength`` is λ·c for each query head; ``p`` belongs to "lp". For "dot" the distance is ``-q·k``.
    """

    metric: str
    strength: tuple[float, ...]
    p: float | None = None

    def logits(self, q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"]) -> Float[Tensor, "B H Q T"]:
        """Logits before mask, bias and sink, in fp32; ``H`` is a multiple of ``K``, and k is never repeated."""
        batch, heads, rows, width = q.shape
        groups, n_keys = k.shape[1:3]
        grouped = q.float().reshape(batch, groups, heads // groups * rows, width)
        distance = torch.empty(*grouped.shape[:3], n_keys, device=q.device)
        metric = metric_of(self.metric)
        p = None if self.p is None else torch.full((1, 1), self.p, device=q.device)
        across = max(1, min(n_keys, _BLOCK_ELEMENTS // (batch * groups * width)))
        down = max(1, _BLOCK_ELEMENTS // (batch * groups * width * across))
        with torch.autocast(q.device.type, enabled=False):  # a caller's autocast would round the differences
            for keys in _steps(n_keys, across):
                for some in _steps(grouped.shape[2], down):
                    distance[:, :, some, keys] = metric.distance(grouped[:, :, some], k[:, :, keys].float(), p)
        strength = torch.tensor(self.strength, device=q.device).view(-1, 1, 1)
        return distance.view(batch, heads, rows, n_keys).mul_(-strength)


@dataclass(frozen=True, slots=True)
class MixedScore:
    """A distance for some query heads of a layer, the dot product for the others."""

    heads: tuple[int, ...]
    distance: DistanceScore
    rest: DotScore

    def logits(self, q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"]) -> Float[Tensor, "B H Q T"]:
        """Logits before mask, bias and sink, in fp32."""
        heads = list(self.heads)
        logits = self.rest.logits(q, k)
        logits[:, heads] = self.distance.logits(q, k)[:, heads]
        return logits


Rule = DotScore | DistanceScore | MixedScore
"""How a query and a key become a logit."""


def rule_of_head(rule: Rule, head: int) -> Rule:
    """The rule of one query head, for q and k that hold this head alone."""
    if isinstance(rule, MixedScore):
        rule = rule.distance if head in rule.heads else rule.rest
    if isinstance(rule, DistanceScore) and len(rule.strength) > 1:
        return replace(rule, strength=(rule.strength[head],))
    return rule


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    """A rule as plain values that JSON can hold."""
    names = {DotScore: "dot", DistanceScore: "distance", MixedScore: "mixed"}
    return {"name": names[type(rule)], **asdict(rule)}


def rule_from_dict(values: Mapping[str, Any]) -> Rule:
    """The rule that `rule_to_dict` wrote.

    Raises
    ------
    InputError
        If there is no such rule or metric.
    """
    fields = dict(values)
    name = fields.pop("name")
    if name == "dot":
        return DotScore(**fields)
    if name == "distance":
        metric_of(fields["metric"])
        return DistanceScore(fields["metric"], tuple(fields["strength"]), fields["p"])
    if name == "mixed":
        distance = rule_from_dict({"name": "distance", **fields["distance"]})
        assert isinstance(distance, DistanceScore)
        return MixedScore(tuple(fields["heads"]), distance, DotScore(**fields["rest"]))
    raise InputError(f"expected the score rule dot, distance or mixed, found {name!r}: a newer heed wrote it")


def _steps(count: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
