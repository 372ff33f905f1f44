"""Numbers the viewer's own tests hold its recomputation against: `python tests/viewer_numbers.py` writes them.

Every case is a `LayerView` as the page carries it, and what its map, rows and columns are by the view itself.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heed.attention.mask import Mask
from heed.attention.score import DotScore
from heed.attention.terms import Terms
from heed.probe.view import LayerKey, LayerView

NUMBERS = Path(__file__).parents[1] / "web" / "test" / "numbers.json"
LEVEL = 2
SINKS = [0]
_BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


def cases() -> list[dict[str, Any]]:
    return [
        case("causal, 3 heads on 1", Mask.causal(63, 63), heads=3, groups=1, dtype=torch.float32),
        case("window, capped", window(100, 17), heads=2, groups=2, dtype=torch.bfloat16, softcap=5.0),
        case("full, rows that are not keys", Mask.full(7, 19), heads=2, groups=1, dtype=torch.float16),
        case("one token", Mask.causal(1, 1), heads=1, groups=1, dtype=torch.float32),
    ]


def window(tokens: int, width: int) -> Mask:
    end = torch.arange(1, tokens + 1)[None]
    start = (end - width).clamp_min(0)
    return Mask(start, torch.where(end == 5, start, end), tokens)  # row 4 sees nothing


def case(
    name: str, mask: Mask, *, heads: int, groups: int, dtype: torch.dtype, softcap: float | None = None
) -> dict[str, Any]:
    torch.manual_seed(len(name))
    n_rows, n_keys, width = mask.start.shape[1], mask.n_keys, 4
    q = (2 * torch.randn(1, heads, n_rows, width)).to(dtype)
    k = (2 * torch.randn(1, groups, n_keys, width)).to(dtype)
    terms = Terms(DotScore(0.5, softcap), mask)
    lse = terms.lse(q, k, torch.arange(n_rows)[None])
    view = LayerView(LayerKey("decoder", 3), q, k, terms, lse)
    seen = mask.visible(torch.arange(n_rows)[None], slice(0, n_keys))[0].numpy()
    weights = np.where(seen, view.rows(slice(0, n_rows))[0].numpy(), np.nan)
    data = {
        "form": "factors",
        "dtype": str(dtype).removeprefix("torch."),
        "width": width,
        "kv": [head * groups // heads for head in range(heads)],
        "scale": 0.5,
        "softcap": softcap,
        "mask": described(mask),
        "q": packed(q.view(_BITS[dtype]).numpy()),
        "k": packed(k.view(_BITS[dtype]).numpy()),
        "lse": packed(lse.masked_fill(lse == -torch.inf, 0.0).numpy()),
    }
    halves = (32768 * weights).astype("<f2")
    stored = {
        "form": "weights",
        "dtype": "half",
        "mask": described(mask),
        "weights": packed(np.concatenate([head[seen] for head in halves])),
    }
    return {"name": name, "rows": n_rows, "keys": n_keys, "factors": data, "weights": stored, **expected(weights)}


def expected(weights: np.ndarray) -> dict[str, Any]:
    """What is asked of a source, head by head and for their mean: ``weights`` is ``[H, Q, T]``, NaN where hidden."""
    heads = [*weights, weights.mean(0)]
    end = min(3, weights.shape[1])
    shown = [0, weights.shape[1] // 2, weights.shape[1] - 1]
    return {
        "shown": shown,
        "map": [listed(head[shown]) for head in heads],
        "max": [listed(blocks(head, "max")) for head in heads],
        "mean": [listed(blocks(head, "mean")) for head in heads],
        "dropped": [listed(blocks(without(head), "max")) for head in heads],
        "row": [listed(mean_row(head[:end])) for head in heads],
        "column": [listed(sum_column(head[:, :end])) for head in heads],
    }


def blocks(head: np.ndarray, aggregate: str) -> np.ndarray:
    """Cells of level 2: max or mean of the visible entries of 4 by 4 blocks."""
    side = 2**LEVEL
    rows, keys = (-(-count // side) for count in head.shape)
    out = np.full((rows, keys), np.nan)
    for i in range(rows):
        for j in range(keys):
            block = head[side * i : side * (i + 1), side * j : side * (j + 1)]
            block = block[~np.isnan(block)]
            if block.size:
                out[i, j] = block.max() if aggregate == "max" else block.mean()
    return out


def without(head: np.ndarray) -> np.ndarray:
    head = head.copy()
    head[:, SINKS] = np.nan
    return head


def mean_row(rows: np.ndarray) -> np.ndarray:
    seeing = rows[~np.isnan(rows).all(1)]
    if not len(seeing):
        return np.full(rows.shape[1], np.nan)
    return np.where(np.isnan(seeing).all(0), np.nan, np.nan_to_num(seeing).mean(0))


def sum_column(keys: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(keys).all(1), np.nan, np.nan_to_num(keys).sum(1))


def described(mask: Mask) -> dict[str, Any]:
    if mask.shape != "general":
        return {"kind": mask.shape}
    return {"kind": "intervals", **{side: packed(getattr(mask, side)[0].int().numpy()) for side in ("start", "end")}}


def packed(values: np.ndarray) -> str:
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def listed(values: np.ndarray) -> list[Any]:
    """Six digits, null for NaN, flat."""
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in values.ravel()]


if __name__ == "__main__":
    NUMBERS.write_text(json.dumps({"level": LEVEL, "sinks": SINKS, "cases": cases()}) + "\n", encoding="utf-8")
