"""When a cache of attention results pays: what a hit saves, what a miss costs, and the share of hits that breaks even.

A hit hashes q, k and v and copies the result; a miss hashes and computes. With plain, hit and miss times, the cache
pays above the hit rate (miss - plain) / (miss - hit); more than 1 means that it never does.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import Claim, interleaved, main, pick, reported
from heed.attention import ResultCache, distance_attention
from heed.attention.distance.functional import explain

METRICS = ("dot", "l1", "chebyshev")
HEADS, WIDTH = 8, 64


def plain(inputs: list[Tensor], metric: str, repeat: int) -> object:
    """No cache."""
    return distance_attention(*inputs, metric=metric)


def hit(cache: ResultCache, inputs: list[Tensor], metric: str, repeat: int) -> object:
    """The same content each time; the first warm-up fills the cache."""
    return cache.attend(*inputs, metric=metric)


def miss(cache: ResultCache, inputs: list[Tensor], metric: str, repeat: int) -> object:
    """One number differs each time."""
    inputs[0][0, 0, 0, 0] = repeat
    return cache.attend(*inputs, metric=metric)


@torch.no_grad()
def compare(metric: str, length: int, repeats: int) -> list[Claim]:
    """The three ways side by side."""
    inputs = [torch.randn(1, HEADS, length, WIDTH) for _ in range(3)]
    ways = {
        "plain": partial(plain, inputs, metric),
        "hit": partial(hit, ResultCache(), inputs, metric),
        "miss": partial(miss, ResultCache(), [x.clone() for x in inputs], metric),
    }
    times = interleaved(ways, repeats=repeats, warm_ups=2)
    took = {way: times.median(way) for way in ways}
    even = (took["miss"] - took["plain"]) / (took["miss"] - took["hit"])
    where = f"{metric}, {length} tokens, {HEADS} heads of {WIDTH}, fp32"
    path = {"path": explain(*inputs, metric=metric).path}
    return [
        reported(f"hit / plain, {where}", times.ratio("hit", "plain"), times.details("hit", "plain") | path, unit="x"),
        reported(f"miss / plain, {where}", times.ratio("miss", "plain"), times.details("miss", "plain"), unit="x"),
        reported(f"hit rate from which the cache pays, {where}", even),
    ]


def measure() -> list[Claim]:
    """Short to long inputs."""
    lengths, repeats = pick(((64, 256, 1024, 2048), 15), ((16,), 2))
    return [claim for metric in METRICS for length in lengths for claim in compare(metric, length, repeats)]


if __name__ == "__main__":
    main(__file__, measure)
