"""A scene as the viewer's page gets it: the JSON of docs/viewer.md, section 2.

Comes in: a `Scene` (marked texts) or an `AttentionScene` (maps). Goes out: plain values, NaN as None.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from heed.picture.blocks import check
from heed.picture.visible import clean
from heed.text.attention import AttentionScene, Flow, Grounds, Statistic
from heed.text.evidence import HeadGrid, Passage, Scene

VERSION = 1


def viewer_scene(scene: Scene | AttentionScene) -> dict[str, Any]:
    """The scene as JSON-ready values.

    Raises
    ------
    InputError
        If a number of the scene cannot be drawn.
    """
    return _maps(scene) if isinstance(scene, AttentionScene) else _texts(scene)


def _maps(scene: AttentionScene) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": VERSION,
        "kind": scene.kind,
        "title": clean(scene.title),
        "model": clean(scene.model),
        "dtype": scene.dtype,
        "tokens": [clean(token) for token in scene.tokens],
        "row_offset": scene.row_offset,
        "special": list(scene.special),
        "spans": [{"name": clean(span.name), "start": span.start, "end": span.end} for span in scene.spans],
        "layers": list(scene.layers),
        "heads": list(scene.heads),
        "n_rows": scene.n_rows,
        "n_keys": len(scene.tokens),
        "aggregates": ["max", "mean"],
        "sinks": list(scene.sinks),
        "statistics": [_statistic(statistic, scene) for statistic in scene.statistics],
        "flow": None if scene.flow is None else _flow(scene.flow, scene.layers),
        **_evidence(scene.grounds),
        "info": _pairs(scene.facts),
        "notes": [clean(note) for note in scene.notes],
        "watermark": scene.watermark,
        "exactness": scene.exactness,
        "open": {"view": scene.view, "layer": scene.open_layer, "head": scene.head},
    }
    if scene.row_tokens is not None:
        found["row_tokens"] = [clean(token) for token in scene.row_tokens]
    return found


def _texts(scene: Scene) -> dict[str, Any]:
    check(scene)
    return {
        "version": VERSION,
        "kind": "verdict" if scene.risk is not None else "citation",
        "title": clean(scene.title),
        **_said(scene),
        "model": "",
        "dtype": "",
        "tokens": [],
        "spans": [],
        "layers": [],
        "heads": [],
        "n_rows": 0,
        "n_keys": 0,
        "aggregates": ["max", "mean"],
        "statistics": [] if scene.heads is None else [_grid(scene.heads)],
        "flow": None,
        "passages": _passages(scene.passages),
        "info": _pairs(scene.facts),
        "notes": [clean(note) for note in scene.notes],
        "watermark": None,
        "exactness": "",
        "open": {"view": "evidence"},
    }


def _said(scene: Scene) -> dict[str, Any]:
    risk = None if scene.risk is None else dict(zip(("value", "threshold"), scene.risk, strict=True))
    return {"headline": clean(scene.headline), "tone": scene.tone, "risk": risk}


def _evidence(grounds: Grounds | None) -> dict[str, Any]:
    """What a result says of the text the maps are of, each mark with its tokens."""
    if grounds is None:
        return {"passages": [], "risk": None}
    check(grounds.scene)
    passages = _passages(grounds.scene.passages)
    for passage, places in zip(passages, grounds.marks, strict=True):
        for mark, span in zip(passage["marks"], places, strict=True):
            mark["tokens"] = None if span is None else [span.start, span.end]
    return {**_said(grounds.scene), "passages": passages, "numbers": _pairs(grounds.scene.facts)}


def _statistic(statistic: Statistic, scene: AttentionScene) -> dict[str, Any]:
    found = {
        "key": statistic.key,
        "label": clean(statistic.label),
        "help": clean(statistic.help),
        "unit": statistic.unit,
        "values": numbers(statistic.values),
    }
    if statistic.layers != scene.layers:
        found |= {"layers": list(statistic.layers), "heads": list(scene.heads)}
    return found


def _grid(grid: HeadGrid) -> dict[str, Any]:
    layers, heads = grid.values.shape
    return {
        "key": "grid",
        "label": clean(grid.title),
        "help": clean(f"0: {grid.low}; 1: {grid.high}"),
        "unit": "share",
        "values": numbers(grid.values),
        "weights": numbers(grid.weights),
        "layers": list(range(layers)),
        "heads": list(range(heads)),
        "low": clean(grid.low),
        "high": clean(grid.high),
    }


def _flow(flow: Flow, layers: Sequence[int]) -> dict[str, Any]:
    """Only the layers that the scene has: the page counts them alike."""
    kept = [flow.layers.index(layer) for layer in layers]
    return {
        "names": [clean(name) for name in flow.names],
        "mass": numbers(flow.mass[kept]),
        "rollout": None if flow.rollout is None else numbers(flow.rollout[kept]),
        "rows_read": flow.rows_read,
        "rows_total": flow.rows,
    }


def _passages(passages: Sequence[Passage]) -> list[dict[str, Any]]:
    return [
        {
            "label": clean(passage.label),
            "text": clean(passage.evidence.text),
            "marks_name": clean(passage.marks_name),
            "marks": [
                {"start": span.start, "end": span.end, "weight": round(span.weight, 6)}
                for span in passage.evidence.spans
            ],
        }
        for passage in passages
    ]


def _pairs(facts: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[clean(label), clean(value)] for label, value in facts]


def numbers(values: np.ndarray) -> Any:
    """Nested lists, five significant digits, NaN as None."""
    if values.ndim > 1:
        return [numbers(part) for part in values]
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]
