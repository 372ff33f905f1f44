"""Distance attention against other ways: broadcasting, torch.cdist, torch.compile, FlexAttention, KeOps.

And the dot product against plain matrix products with softmax, torch's kernel and heed's own. Ratios are the other
way's time over heed's in the same repeat. Every other way must give heed's output, or its claim breaks. A way that this
machine does not have is skipped with the reason.
"""

import importlib.util
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import Case, spread
from harness import Claim, Skip, at_least, interleaved, main, pick, reported, skipped
from heed.attention import distance_attention, metric_of

SHORT, LENGTH = pick((1024, 2048), (32, 48))
WIDTH = 64
_TOLERANCE = 2e-3
"""Largest difference of outputs: torch.cdist of p = 2 is no better than that near zero."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def weighted(distance: Tensor, v: Tensor, factor: float) -> Tensor:
    """Plain softmax over distances."""
    return torch.softmax(-factor * distance, -1) @ v


def factor(metric: str, p: float | None = None) -> float:
    """The constant c that heed uses."""
    return float(metric_of(metric).calibrated(WIDTH, p))


def broadcast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """L1 as it is written down."""
    return weighted((q.unsqueeze(-2) - k.unsqueeze(-3)).abs().sum(-1), v, factor("l1"))


def cdist(metric: str, p: float) -> Attend:
    """By torch.cdist, with the matrix of distances."""
    c = factor(metric, p if metric == "lp" else None)
    return lambda q, k, v: weighted(torch.cdist(q, k, p=p), v, c)


def eager(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Dot product, softmax, product."""
    return torch.softmax(q @ k.transpose(-1, -2) * factor("dot"), -1) @ v


def compiled() -> Attend:
    """The reference of L1 under torch.compile."""
    return torch.compile(lambda q, k, v: distance_attention(q, k, v, metric="l1", backend="reference"))


def flex() -> Attend:
    """L2 by FlexAttention: the norms are captured and the score, a dot product, becomes a distance."""
    from torch.nn.attention.flex_attention import flex_attention

    attend, c = torch.compile(flex_attention), factor("l2")

    def by_flex(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        of_q, of_k = q.square().sum(-1), k.square().sum(-1)

        def distance(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return -c * (of_q[b, h, i] + of_k[b, h, j] - 2 * score).clamp(min=0).sqrt()

        return attend(q, k, v, score_mod=distance, scale=1.0)

    return by_flex


def keops() -> Attend:
    """L1 by KeOps' symbolic matrices."""
    if importlib.util.find_spec("pykeops") is None:
        raise Skip("pykeops is not installed (pip install pykeops)")
    from pykeops.torch import LazyTensor

    def by_keops(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, keys = LazyTensor(q.unsqueeze(-2).contiguous()), LazyTensor(k.unsqueeze(-3).contiguous())
        score = -factor("l1") * (rows - keys).abs().sum(-1)
        return score.sumsoftmaxweight(LazyTensor(v.unsqueeze(-3).contiguous()), axis=len(q.shape) - 1)

    return by_keops


def compare(
    name: str,
    case: Case,
    make: Callable[[], Attend],
    *,
    bar: float | None = None,
    repeats: int = 9,
    needs_gb: float = 0,
) -> Claim:
    """Another way beside heed's on the same inputs."""
    claim = f"{name} / heed {case.metric}, {case.what}"
    try:
        _check_room(needs_gb)
        attend = make()
        q, k, v, _ = case.inputs
        with torch.no_grad():
            apart = float((attend(q, k, v) - distance_attention(q, k, v, **case.options)).abs().max())
    except Skip as reason:
        return skipped(claim, str(reason))
    if not apart < _TOLERANCE:
        raise AssertionError(f"{name}: expected heed's output to {_TOLERANCE}, found {apart:.2g} apart")
    times = interleaved({"other": case.by(attend), "heed": case.heed}, repeats=pick(repeats, 1))
    details: dict[str, Any] = {**times.details("other", "heed"), **spread(times, "other", "heed")}
    details |= {"outputs apart": f"{apart:.1e}", "path": case.path}
    ratio = times.ratio("other", "heed")
    return reported(claim, ratio, details, unit="x") if bar is None else at_least(claim, ratio, bar, details)


def _check_room(gigabytes: float) -> None:
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 1e9
    if pick(gigabytes, 0.0) > free:
        raise Skip(f"it takes {gigabytes:g} GB of memory, {free:.1f} are free")


def with_a_bar() -> list[Claim]:
    """The forms that a user would write instead."""
    general = Case("lp 2.5", SHORT)
    return [
        compare("broadcast", Case("l1", SHORT), lambda: broadcast, bar=20.0, repeats=5, needs_gb=10),
        compare("torch.cdist", general, lambda: cdist("lp", 2.5), bar=5.0, repeats=5),
    ]


def measure() -> list[Claim]:
    """All ways, forward, and where they can be trained the train step."""
    claims = with_a_bar()
    for train in (False, True):
        for metric, p in (("l1", 1.0), ("l2", 2.0), ("chebyshev", math.inf)):
            claims.append(
                compare("torch.cdist", Case(metric, SHORT, train), lambda m=metric, p=p: cdist(m, p), repeats=5)
            )
        claims.append(compare("softmax(qk)v", Case("dot", LENGTH, train), lambda: eager))
        claims.append(_own_dot(train))
    claims.append(compare("torch.compile of the reference", Case("l1", SHORT), compiled))
    claims.append(compare("FlexAttention", Case("l2", SHORT), flex))
    claims.append(compare("KeOps", Case("l1", SHORT), keops, repeats=5))
    return claims


def _own_dot(train: bool) -> Claim:
    """L1 against heed's own dot kernel: what the metric itself costs, equal care given."""
    case, dot = Case("l1", LENGTH, train), Case("dot", LENGTH, train)
    times = interleaved({"dot": dot.heed, "l1": case.heed}, repeats=pick(15, 1))
    details = {**times.details("dot", "l1"), **spread(times, "dot", "l1")}
    return reported(f"heed dot / heed l1, {case.what}", times.ratio("dot", "l1"), details, unit="x")


if __name__ == "__main__":
    main(__file__, measure)
