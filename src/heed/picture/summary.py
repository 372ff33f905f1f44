"""A scene of maps as a scene of marked text: what a terminal, or a page without scripts, can show of it.

Comes in: an `AttentionScene`. Goes out: a `Scene` in which the text is marked by what one row attends to.
"""

from dataclasses import replace

import numpy as np

from heed.errors import InputError
from heed.picture.visible import counted
from heed.text.attention import MEAN, AttentionScene
from heed.text.evidence import Evidence, HeadGrid, Passage, Scene, WeightedSpan
from heed.text.span import CharSpan

_MARKS = 12
_SLIGHT = 0.002


def summary(scene: AttentionScene, *, layer: int | None = None, head: int | None = None, row: int = -1) -> Scene:
    """What one row of one head attends to, marked in the text.

    Parameters
    ----------
    layer, head
        By default those that are open first; head -1 is the mean of all.
    row
        Which row; negative ones count from the end.

    Raises
    ------
    InputError
        If there is no such layer, head or row.
    """
    scene = replace(scene, layer=scene.layer if layer is None else layer, head=scene.head if head is None else head)
    place = row + scene.n_rows if row < 0 else row
    if not 0 <= place < scene.n_rows:
        raise InputError(f"expected a row from {-scene.n_rows} to {scene.n_rows - 1}, found {row}")
    layer = scene.open_layer
    weights = scene.maps.weights(layer, scene.head, slice(place, place + 1), slice(0, len(scene.tokens)))[0]
    where = f"layer {layer}, {'mean of heads' if scene.head == MEAN else f'head {scene.head}'}"
    token = scene.rows[place].strip() or f"#{place}"
    said = f"attention of row {place} ({token!r}), {where}"
    sinks = [sink for sink in scene.sinks if len(scene.tokens) > 1]
    dropped = float(np.nansum(weights[sinks]))
    notes = [f"The first token is not marked: it takes {dropped:.0%} of this row."] if sinks else []
    shape = (
        f"{counted(len(scene.tokens), 'token')}, {counted(len(scene.layers), 'layer')} × "
        f"{counted(len(scene.heads), 'head')}"
    )
    return Scene(
        title=f"{scene.watermark}: {scene.title}" if scene.watermark else scene.title,
        headline=f"{shape}, not read from any model" if scene.kind == "synthetic" else shape,
        tone="neutral",
        passages=(Passage("text", _marked(scene, weights, sinks), said), *_evidence(scene)),
        facts=(*scene.facts, ("weights", scene.exactness)),
        heads=_grid(scene),
        notes=(*scene.notes, *notes),
    )


def _evidence(scene: AttentionScene) -> tuple[Passage, ...]:
    return () if scene.grounds is None else scene.grounds.scene.passages


def _marked(scene: AttentionScene, weights: np.ndarray, sinks: list[int]) -> Evidence:
    """The text of the keys with the heaviest of them marked."""
    ends = np.cumsum([len(token) for token in scene.tokens])
    shares = np.clip(np.nan_to_num(weights), 0.0, 1.0)
    shares[sinks] = 0.0
    chosen = [int(key) for key in np.argsort(-shares, kind="stable")[:_MARKS] if shares[key] >= _SLIGHT]
    spans = [(CharSpan(int(ends[key]) - len(scene.tokens[key]), int(ends[key])), float(shares[key])) for key in chosen]
    return Evidence("".join(scene.tokens), tuple(WeightedSpan(span, share) for span, share in spans if len(span)))


def _grid(scene: AttentionScene) -> HeadGrid | None:
    """The first statistic that is a share; None where there is none for all of its heads."""
    for statistic in scene.statistics:
        if statistic.unit == "share" and statistic.layers == tuple(range(len(statistic.layers))):
            title = f"{statistic.label}: {statistic.help}"
            return HeadGrid(title, statistic.values, statistic.values, "none", "all attention")
    return None
