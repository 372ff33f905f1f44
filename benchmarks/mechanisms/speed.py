"""Distance attention against torch's own scaled dot product: the claims, forward and train step, one metric at a time.

Ratios are torch's time over heed's in the same repeat, so more than 1 is faster. Then decoding (one query on a long
cache), and both held to AVX2 in a process of its own (HEED_KERNEL and ATEN_CPU_CAPABILITY). `grid.py` has every metric,
length and variant without bars.
"""

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import Case, side_by_side, spread
from harness import THREADS, Claim, at_least, main, pick, reported, skipped
from heed.attention.distance import native
from machine import child

BARS = {
    "l1": (1.25, 1.4),
    "l2": (1.5, 1.3),
    "cosine": (1.3, 1.0),
    "chebyshev": (1.25, 1.1),
    "lp 3": (1.05, 0.9),
}
"""At least so many times as fast as torch's attention: forward, train step."""

AVX2_BARS = {"l1": 1.0, "l2": 1.0, "chebyshev": 1.0}
_AVX2 = {"HEED_KERNEL": "avx2", "ATEN_CPU_CAPABILITY": "avx2"}
_IN_AVX2 = "--in-avx2"
LENGTH, REPEATS = pick((2048, 21), (64, 2))


def faster(case: Case, bar: float | None, repeats: int = REPEATS, note: str = "") -> Claim:
    """How many times as fast as torch's attention."""
    times = side_by_side(case, repeats=repeats)
    details = {**times.details("sdpa", "heed"), **spread(times, "sdpa", "heed"), "path": case.path}
    name, ratio = f"sdpa / {case.metric}, {case.what}{note}", times.ratio("sdpa", "heed")
    return reported(name, ratio, details, unit="x") if bar is None else at_least(name, ratio, bar, details)


def table() -> list[Claim]:
    """The metrics with a bar."""
    return [
        faster(Case(metric, LENGTH, train=train), bars[train])
        for metric, bars in BARS.items()
        for train in (False, True)
    ]


def decoding() -> list[Claim]:
    """One query against a long cache."""
    length = pick(8192, 128)
    return [faster(Case(metric, length, queries=1), None) for metric in ("dot", *BARS)]


def narrow() -> list[Claim]:
    """The AVX2 kernel against torch's attention held to AVX2."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return [skipped("sdpa / heed, both held to AVX2", f"this is {platform.machine()}")]
    found = child(__file__, _IN_AVX2, variables=_AVX2)
    if "skipped" in found:
        return [skipped("sdpa / heed, both held to AVX2", found["skipped"])]
    return [Claim(**claim) for claim in found["claims"]]


def _in_avx2() -> None:
    """What `narrow` runs in a process of its own."""
    torch.set_num_threads(THREADS)
    status, capability = native.status(), torch.backends.cpu.get_cpu_capability()
    if status.variant != "avx2" or capability != "AVX2":
        print(json.dumps({"skipped": f"kernel {status.variant or status.reason}, torch {capability}"}))
        return
    cases = [(Case(metric, LENGTH, train=train), bar) for metric, bar in AVX2_BARS.items() for train in (False, True)]
    claims = [faster(case, None if case.train else bar, note=", both held to AVX2") for case, bar in cases]
    print(json.dumps({"claims": [asdict(claim) for claim in claims]}))


def measure() -> list[Claim]:
    """All claims, the quick ones last."""
    return [*table(), *narrow(), *decoding()]


if __name__ == "__main__":
    if _IN_AVX2 in sys.argv:
        _in_avx2()
    else:
        main(__file__, measure)
