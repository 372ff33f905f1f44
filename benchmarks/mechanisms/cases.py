"""One thing to time: a metric, a pass and a shape, done by heed's public function and by torch's attention.

Both get the same tensors, in the layout of `scaled_dot_product_attention`; what heed does before its kernel (scale, λ,
the cosine's normalisation) is part of its time.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import QUICK, Timings, interleaved
from heed.attention import distance_attention
from heed.attention.distance.functional import explain

Way = Callable[[int], object]
METRICS = ("dot", "sqeuclidean", "l2", "l1", "lp 3", "lp 2.5", "cosine", "chebyshev", "l21", "linf2")
"""Every metric that has a kernel; p stands behind the name. Whole powers have a kernel of their own, 2.5 does not."""

_UNIT = 1 << 19
"""Pairs of rows and keys that are worth one call: shorter calls are repeated within a measurement."""


@dataclass(frozen=True)
class Case:
    """What is timed, fp32: ``metric`` with its p behind a space, ``train`` with the backward pass, self-attention.

    With ``queries`` fewer than ``length`` the rows are the last ones (a cache), as when a text is generated.
    """

    metric: str
    length: int
    train: bool = False
    causal: bool = False
    kv_heads: int = 8
    queries: int | None = None
    heads: int = 8
    width: int = 64

    @property
    def what(self) -> str:
        """Pass, variant and shape in a line, without the metric."""
        parts = ["train step" if self.train else "forward", f"S {self.length:,}"]
        parts += ["causal"] if self.causal else []
        parts += [f"{self.kv_heads} kv heads"] if self.kv_heads != self.heads else []
        parts += [f"{self.queries} query"] if self.queries else []
        return ", ".join(parts)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `distance_attention`."""
        name, _, p = self.metric.partition(" ")
        options: dict[str, Any] = {"metric": name, "is_causal": self.causal and self.queries is None}
        options |= {"p": float(p)} if p else {}
        return options | ({"enable_gqa": True} if self.kv_heads != self.heads else {})

    @cached_property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q, k, v and the gradient of the output, N(0, 1)."""
        rows = self.queries or self.length
        draw = torch.Generator().manual_seed(0)
        shapes = [(self.heads, rows), *[(self.kv_heads, self.length)] * 2, (self.heads, rows)]
        q, k, v, grad = (torch.randn(1, h, n, self.width, generator=draw) for h, n in shapes)
        return (*(x.requires_grad_(self.train) for x in (q, k, v)), grad)

    @property
    def path(self) -> str:
        """The path heed takes."""
        return explain(*self.inputs[:3], **self.options).path

    @property
    def calls(self) -> int:
        """Calls in one measurement."""
        return 1 if QUICK else min(20, max(1, _UNIT // ((self.queries or self.length) * self.length)))

    def heed(self, repeat: int = 0) -> None:
        """`heed.attention.distance_attention`."""
        self._run(lambda q, k, v: distance_attention(q, k, v, **self.options))

    def sdpa(self, repeat: int = 0) -> None:
        """`torch.nn.functional.scaled_dot_product_attention`."""
        options = {name: self.options[name] for name in ("is_causal", "enable_gqa") if name in self.options}
        self._run(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, **options))

    def by(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Way:
        """Another way of attending with the same inputs."""
        return lambda repeat: self._run(attend)

    def _run(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        *inputs, grad = self.inputs
        for _ in range(self.calls):
            if self.train:
                torch.autograd.grad(attend(*inputs), inputs, grad)
            else:
                with torch.no_grad():
                    attend(*inputs)


def side_by_side(case: Case, *, repeats: int) -> Timings:
    """Torch's attention and heed's in turn."""
    return interleaved({"sdpa": case.sdpa, "heed": case.heed}, repeats=repeats, warm_ups=2)


def spread(times: Timings, way: str, other: str) -> Mapping[str, str]:
    """The 95 % interval of ``way / other``, as a detail of a claim."""
    low, high = times.interval(way, other)
    return {"95 % interval": f"{low:.3f} to {high:.3f}"}
