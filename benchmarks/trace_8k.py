"""A trace of 8,192 tokens stays small, and any 256 x 256 tile of it is exact and quick.

"Model" in the memory bar is what a process holds that has loaded the model and run a pass over 16 tokens: interpreter,
libraries and weights; the budget counted from the bare weights stands in the details. A tile is compared with the
same rows computed densely in float64 from q and k; times are medians over layers and places.
"""

import json
import sys
from statistics import median
from time import perf_counter

import numpy as np
import torch

import heed
from harness import THREADS, Claim, at_most, main, pick
from heed.probe import LayerView, Trace
from inputs import dtype_name, embedded
from machine import child, held_bytes, peak_bytes, reset_peak

MEMORY_MB, TILE_S, ERROR = 300, 0.050, 1e-5
_SIDE = 256


def dense(view: LayerView, first_row: int, first_key: int, side: int) -> torch.Tensor:
    """The tile ``[H, q, t]`` in float64: whole causal rows, softmax, then cut."""
    rows = torch.arange(first_row, first_row + side)
    q, k = view.q[0, :, rows].double(), view.k[0].double().repeat_interleave(view.q.shape[1] // view.k.shape[1], 0)
    logits = q @ k.transpose(1, 2) * view.q.shape[-1] ** -0.5
    hidden = torch.arange(view.n_keys) > rows[:, None]
    weights: torch.Tensor = logits.masked_fill(hidden, -torch.inf).softmax(-1)
    return weights[:, :, first_key : first_key + side]


def tiles(trace: Trace, side: int) -> tuple[list[float], float]:
    """Seconds of each tile, and the largest error of some of them."""
    n, seconds, error = len(trace.ids), [], 0.0
    places = [(n - side, 0), (n - side, n - side), (n // 2, n // 4), (side, 0)]
    for key, view in trace.views.items():
        for place, (row, column) in enumerate(places):
            started = perf_counter()
            tile = view.tile(slice(row, row + side), slice(column, column + side))
            seconds.append(perf_counter() - started)
            if place == key.index % len(places) and key.index % 5 == 0:
                error = max(error, float((tile[0].double() - dense(view, row, column, side)).abs().max()))
    return seconds, error


def measure_alone(dtype: str, tokens: int, side: int) -> dict[str, float]:
    """What one process finds: bytes, seconds, errors."""
    torch.set_num_threads(THREADS)
    model = embedded(dtype)
    ids = np.random.default_rng(0).integers(100, 40_000, tokens)
    heed.trace(model, ids[:16])
    before = held_bytes()
    reset_peak()
    trace = heed.trace(model, ids)
    peak = peak_bytes()
    seconds, error = tiles(trace, side)
    weights = sum(one.numel() * one.element_size() for one in model.hf.parameters())
    found = {"peak": peak, "before": before, "weights": weights, "trace": trace.nbytes}
    return found | {"trace_s": trace.seconds, "tile_s": median(seconds), "slowest_s": max(seconds), "error": error}


def claims_of(found: dict[str, float], dtype: str, tokens: int) -> list[Claim]:
    """Judge one number format."""
    extra = 1.3 * found["trace"] + MEMORY_MB * 1e6
    details = {
        "peak": f"{found['peak'] / 1e6:.0f} MB",
        "loaded process": f"{found['before'] / 1e6:.0f} MB",
        "weights": f"{found['weights'] / 1e6:.0f} MB",
        "q, k, lse": f"{found['trace'] / 1e6:.0f} MB",
        "peak / budget from the bare weights": round(found["peak"] / (found["weights"] + extra), 3),
        "trace s": round(found["trace_s"], 1),
    }
    where = f"trace of {tokens} tokens, {dtype}"
    share = found["peak"] / (found["before"] + extra)
    name = f"peak memory / (model + 1.3 x q, k, lse + {MEMORY_MB} MB), {where}"
    slowest = {"slowest s": round(found["slowest_s"], 4)}
    return [
        at_most(name, share, 1.0, details),
        at_most(f"a {_SIDE} x {_SIDE} tile, {where}", found["tile_s"], TILE_S, slowest, unit="s"),
        at_most(f"largest error of a tile against float64, {where}", found["error"], ERROR, unit=""),
    ]


def measure() -> list[Claim]:
    """As shipped, and in float32 where that is another format."""
    tokens, side = pick((8192, _SIDE), (300, 64))
    claims = []
    for dtype in dict.fromkeys((dtype_name(embedded()), "float32")):
        claims += claims_of(child(__file__, dtype, str(tokens), str(side)), dtype, tokens)
    return claims


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure_alone(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main(__file__, measure)
