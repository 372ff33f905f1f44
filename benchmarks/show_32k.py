"""32,768 tokens captured, opened and looked at, exactly: memory, first view, overview, tiles.

The model is shaped as the embedded one, with random weights (its own end at 8,192 tokens). What a page asks for is
asked of the desk that answers it, as the tile server does, without HTTP: "first view" is the scene, its page and every
tile of a canvas of about 1,000 pixels, from sampled rows, of what is open first (the mean of heads); the overview is
the same tiles from all rows. "Model" in the memory bar is what a process holds that has loaded the model and run a pass
over 16 tokens. Run by itself, `python benchmarks/show_32k.py [TOKENS]`: it takes minutes.
"""

import json
import sys
from dataclasses import dataclass, field
from statistics import quantiles
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import heed
from harness import THREADS, Claim, at_most, main, pick, reported
from heed.model import Model
from heed.picture.asks import Reply
from heed.picture.desk import Desk
from heed.picture.viewer_page import viewer_page
from heed.picture.viewer_scene import viewer_scene
from heed.probe import Trace
from heed.text.attention import AttentionScene
from machine import child, dtypes, held_bytes, peak_bytes, reset_peak
from trace_8k import dense

MEMORY_MB, FIRST_S, OVERVIEW_S, TILE_S, ERROR = 300, 3.0, 30.0, 0.050, 1e-5
_SIDE, _CANVAS = 256, 1024
_TILES, _HEAD, _MEAN = 120, 4, -1


@dataclass(slots=True)
class Seen:
    """What one look took: seconds until the last answer, and of each, and what the answers covered."""

    seconds: float
    each: list[float] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    @property
    def rows(self) -> str:
        """Such as "1,024 of 32,768 rows"."""
        read, total = (sum(getattr(one, name) for one in self.replies) for name in ("rows_read", "rows_total"))
        return f"{read:,} of {total:,} rows (summed over tiles)"


def model_of(dtype: str, tokens: int) -> Model:
    """The embedded model's shape: 30 layers, 9 heads, 3 key heads of 64."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=max(tokens, 64),
        tie_word_embeddings=True,
    )
    return heed.wrap(LlamaForCausalLM(config).to(getattr(torch, dtype)).eval())


def look(desk: Desk, asks: list[dict[str, Any]]) -> Seen:
    """Ask for tiles all at once, as a page does, and wait for the last."""
    started = perf_counter()
    jobs = [desk.ask("tile", ask) for ask in asks]
    replies = [job.future.result() for job in jobs]
    return Seen(perf_counter() - started, replies=replies)


def screen(tokens: int, head: int, *, layer: int, exact: bool) -> list[dict[str, Any]]:
    """The tiles of a canvas that shows the whole map, coarsest first, then those that fit its pixels."""
    top = max(0, (tokens - 1).bit_length() - _SIDE.bit_length() + 1)
    level = next(n for n in range(top + 1) if -(-tokens >> n) <= _CANVAS)
    count = -(-tokens // (_SIDE << level))
    places = [(top, 0, 0), *((level, row, col) for row in range(count) for col in range(count))]
    return [
        {"layer": layer, "head": head, "level": n, "row": row, "col": col, "exact": exact} for n, row, col in places
    ]


def finest(desk: Desk, tokens: int, layer: int) -> list[float]:
    """Seconds of exact tiles of 256 × 256 weights, one after another, at random places of all heads."""
    draw, seconds, count = np.random.default_rng(0), [], max(1, tokens // _SIDE)
    for place in range(_TILES):
        row = int(draw.integers(count))
        ask = {"layer": layer, "head": place % 9, "level": 0, "row": row, "col": int(draw.integers(row + 1))}
        seconds.append(look(desk, [ask]).seconds)
    return seconds


def error_of(trace: Trace, scene: AttentionScene, layer: int, tokens: int) -> float:
    """The largest error of a tile at the end of the map against float64."""
    row, side = tokens - _SIDE, _SIDE
    got = scene.maps.weights(layer, _HEAD, slice(row, row + side), slice(row // 2, row // 2 + side))
    want = dense(trace.layer(layer), row, row // 2, side)[_HEAD].numpy()
    return float(np.abs(got - want).max())


def measure_alone(dtype: str, tokens: int) -> dict[str, Any]:
    """What one process finds."""
    torch.set_num_threads(THREADS)
    model = model_of(dtype, tokens)
    ids = np.random.default_rng(0).integers(100, 40_000, tokens)
    heed.trace(model, ids[:16])
    before = held_bytes()
    reset_peak()
    trace = heed.trace(model, ids)
    found: dict[str, Any] = {"before": before, "peak": peak_bytes(), "trace": trace.nbytes, "trace_s": trace.seconds}
    started = perf_counter()
    scene = trace.scene()
    found["scene_s"] = perf_counter() - started
    page = viewer_page(viewer_scene(scene), remote=("./", scene.maps.identity))
    desk, layer = Desk(scene), scene.open_layer
    first = look(desk, screen(tokens, scene.head, layer=layer, exact=False))
    found |= {"first_s": perf_counter() - started, "page": len(page), "rows": first.rows}
    found["idle"] = quantiles(finest(desk, tokens, layer), n=20)
    whole = [desk.ask("tile", ask) for ask in screen(tokens, _HEAD, layer=layer, exact=True)]
    begun = perf_counter()
    found["busy"] = quantiles(finest(desk, tokens, layer), n=20)
    aside = perf_counter() - begun
    exact = [job.future.result().exact for job in whole]
    alone = look(desk, screen(tokens, _HEAD + 1, layer=layer, exact=True))
    found |= {"overview_s": alone.seconds, "exact": all(exact) and all(one.exact for one in alone.replies)}
    found |= {"aside_s": aside, "held": held_bytes(), "error": error_of(trace, scene, layer, tokens)}
    found["mean_s"] = look(desk, screen(tokens, _MEAN, layer=layer, exact=True)).seconds
    desk.close()
    return found


def claims_of(found: dict[str, Any], dtype: str, tokens: int) -> list[Claim]:
    """Judge one number format."""
    if not found["exact"]:
        raise RuntimeError("expected the overview to be exact, found that rows were left out")
    extra = 1.3 * found["trace"] + MEMORY_MB * 1e6
    where = f"{tokens:,} tokens, {dtype}"
    memory = {name: f"{found[name] / 1e6:.0f} MB" for name in ("peak", "before", "trace", "held")}
    memory |= {"capture s": round(found["trace_s"], 1)}
    first = {"scene s": round(found["scene_s"], 2), "read": found["rows"], "page": f"{found['page'] / 1e3:.0f} kB"}
    busy = {"p50 s": round(found["busy"][9], 4), "p95 s": round(found["busy"][18], 4)}
    idle = {"p50 s": round(found["idle"][9], 4)}
    name = f"peak memory / (model + 1.3 x q, k, lse + {MEMORY_MB} MB), {where}"
    return [
        at_most(name, found["peak"] / (found["before"] + extra), 1.0, memory),
        at_most(f"first view after capture, {where}", found["first_s"], FIRST_S, first, unit="s"),
        at_most(f"exact overview of one head, {where}", found["overview_s"], OVERVIEW_S, unit="s"),
        at_most(f"exact {_SIDE} x {_SIDE} tile, p95, {where}", found["idle"][18], TILE_S, idle, unit="s"),
        reported(f"the same while an overview is computed, p95, {where}", found["busy"][18], busy, unit="s"),
        reported(f"exact overview of the mean of 9 heads, {where}", found["mean_s"], unit="s"),
        at_most(f"largest error of a tile against float64, {where}", found["error"], ERROR, unit=""),
    ]


def measure() -> list[Claim]:
    """Every number format that is worth it here."""
    tokens = pick(int(sys.argv[1]) if len(sys.argv) > 1 else 32_768, 1024)
    claims = []
    for dtype in dtypes():
        claims += claims_of(child(__file__, "--alone", dtype, str(tokens)), dtype, tokens)
    return claims


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(measure_alone(sys.argv[2], int(sys.argv[3]))))
    else:
        main(__file__, measure)
