"""What every benchmark shares: claims with a bar, timing side by side, and how a result is printed.

In: ways of doing the same thing, as functions. Out: ratios, `Claim`s, one JSON line. Knows nothing of heed.
"""

import gc
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeVar

import torch

QUICK = os.environ.get("HEED_BENCH_QUICK") == "1"
"""Tiny sizes and few repeats: shows that the benchmarks run; the figures mean nothing."""

THREADS = 1 if QUICK else os.cpu_count() or 1
"""torch threads of every benchmark."""

HERE = Path(__file__).resolve().parent

Picked = TypeVar("Picked")
Details = Mapping[str, Any]


class Skip(Exception):  # noqa: N818 - not an error: the benchmark cannot be run here, for the reason given
    """A benchmark cannot be run on this machine."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and what was measured: ``met`` is None where there is no bar or nothing was measured."""

    name: str
    figure: float | None
    bar: float | None
    met: bool | None
    details: Details = field(default_factory=dict)
    side: Literal["<=", ">=", ""] = ""
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """``met``, ``not met``, ``reported`` (there is no bar) or ``skipped``."""
        if self.figure is None:
            return "skipped"
        return "reported" if self.met is None else "met" if self.met else "not met"

    @property
    def line(self) -> str:
        """The claim in one line."""
        if self.figure is None:
            return f"{self.name}: skipped, {self.details.get('skipped', 'no reason given')}"
        bar = "" if self.bar is None else f" (bar {self.side} {self.bar:g})"
        return f"{self.name}: {self.figure:.4g} {self.unit}{bar}, {self.verdict}"


def at_most(name: str, figure: float, bar: float, details: Details | None = None, *, unit: str = "x") -> Claim:
    """A claim that holds if the figure is at most the bar."""
    return Claim(name, figure, bar, figure <= bar, details or {}, "<=", unit)


def at_least(name: str, figure: float, bar: float, details: Details | None = None, *, unit: str = "x") -> Claim:
    """A claim that holds if the figure is at least the bar."""
    return Claim(name, figure, bar, figure >= bar, details or {}, ">=", unit)


def reported(name: str, figure: float, details: Details | None = None, *, unit: str = "") -> Claim:
    """A figure without a bar."""
    return Claim(name, figure, None, None, details or {}, "", unit)


def skipped(name: str, reason: str) -> Claim:
    """A claim that was not measured."""
    return Claim(name, None, None, None, {"skipped": reason})


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of each way, repeat by repeat; the same index is the same repeat."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, way: str) -> float:
        """Median seconds of a way."""
        return statistics.median(self.seconds[way])

    def ratio(self, way: str, other: str) -> float:
        """Median over the repeats of ``way / other``: each pair ran within one repeat, so drift cancels."""
        return statistics.median(self._pairs(way, other))

    def details(self, way: str, other: str) -> dict[str, Any]:
        """What stands behind a ratio: both medians, their ratio, the range of the pairs."""
        pairs = self._pairs(way, other)
        return {
            f"{way} s": round(self.median(way), 4),
            f"{other} s": round(self.median(other), 4),
            "ratio of medians": round(self.median(way) / self.median(other), 4),
            "paired ratios": f"{min(pairs):.3f} to {max(pairs):.3f}, {len(pairs)} repeats",
        }

    def interval(self, way: str, other: str) -> tuple[float, float]:
        """95 % interval of the ratio, from the order of the pairs alone (sign test); all pairs where they are few."""
        pairs = sorted(self._pairs(way, other))
        rank = _median_rank(len(pairs))
        return pairs[rank], pairs[-1 - rank]

    def _pairs(self, way: str, other: str) -> list[float]:
        return [a / b for a, b in zip(self.seconds[way], self.seconds[other], strict=True)]


def _median_rank(count: int) -> int:
    """How many values to leave out at each end so that the rest still holds the median with 95 %."""
    tail, rank = 0.5**count, 0
    while tail + math.comb(count, rank + 1) * 0.5**count <= 0.025:
        rank += 1
        tail += math.comb(count, rank) * 0.5**count
    return rank


def interleaved(ways: Mapping[str, Callable[[int], object]], *, repeats: int, warm_ups: int = 1) -> Timings:
    """Time the ways side by side: each repeat runs them all, in turn forwards and backwards.

    A way gets the number of the repeat (negative while warming up) and picks its input by it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(-warm_ups, repeats):
        for name in list(ways) if repeat % 2 == 0 else reversed(list(ways)):
            gc.collect()
            started = perf_counter()
            kept = ways[name](repeat)
            taken = perf_counter() - started
            del kept
            if repeat >= 0:
                seconds[name].append(taken)
    return Timings(seconds)


def pick(full: Picked, quick: Picked) -> Picked:
    """``full``, or ``quick`` in a quick run."""
    return quick if QUICK else full


def name_of(file: str) -> str:
    """A benchmark's name: its path within this folder, without the ending."""
    path = Path(file).resolve()
    return path.relative_to(HERE).with_suffix("").as_posix() if path.is_relative_to(HERE) else path.stem


def main(file: str, measure: Callable[[], Sequence[Claim]]) -> None:
    """Measure, print each claim and one JSON line; exit with 0 if all bars are met, 1 if not, 3 if all was skipped."""
    torch.set_num_threads(THREADS)
    name, started = name_of(file), perf_counter()
    try:
        claims = list(measure())
    except Skip as reason:
        claims = [skipped(name, str(reason))]
    for claim in claims:
        print(claim.line)
    record = {"benchmark": name, "quick": QUICK, "seconds": round(perf_counter() - started, 1)}
    print(json.dumps({**record, "claims": [asdict(claim) for claim in claims]}))
    if any(claim.met is False for claim in claims):
        sys.exit(1)
    sys.exit(3 if all(claim.figure is None for claim in claims) else 0)
