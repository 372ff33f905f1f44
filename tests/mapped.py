"""Scenes with maps for tests: random attention under different masks, and what tiles of it must be."""

import threading
from typing import Any

import numpy as np
import pytest

from heed.picture import pyramid
from heed.picture.array import ArrayMaps
from heed.text.attention import AttentionScene

MASKS = ("causal", "full", "window", "holes")


def weights_of(n_rows: int, n_keys: int, *, mask: str = "causal", heads: int = 2, layers: int = 1) -> np.ndarray:
    """Softmax weights ``[L, H, Q, T]``, NaN where hidden; row 1 of "holes" sees nothing."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (layers, heads, n_rows, n_keys)).astype(np.float32)
    rows, keys = np.arange(n_rows)[:, None] + (n_keys - n_rows), np.arange(n_keys)
    shown = {
        "causal": keys <= rows,
        "full": np.ones((n_rows, n_keys), dtype=bool),
        "window": (keys <= rows) & (keys > rows - 40),
        "holes": ((keys <= rows) & (keys % 3 != 1) & (rows != rows[min(1, n_rows - 1)])),
    }[mask]
    scores = np.exp(logits - logits.max(-1, keepdims=True)) * shown
    total = scores.sum(-1, keepdims=True)
    weights = np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)
    return np.where(shown, weights, np.float32(np.nan))


def scene_of(weights: np.ndarray, *, sinks: tuple[int, ...] = (0,)) -> AttentionScene:
    layers, heads, n_rows, n_keys = weights.shape
    return AttentionScene(
        kind="array",
        title="test",
        tokens=tuple(f" t{place}" for place in range(n_keys)),
        layers=tuple(range(layers)),
        heads=tuple(range(heads)),
        n_rows=n_rows,
        maps=ArrayMaps(weights),
        exactness="exact",
        sinks=tuple(sink for sink in sinks if sink < n_keys),
    )


def folded(matrix: np.ndarray, size: int, aggregate: str) -> np.ndarray:
    """The map in cells of size × size; NaN where nothing is visible."""
    rows, columns = (-(-length // size) for length in matrix.shape)
    whole = np.full((rows * size, columns * size), np.nan)
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    cells = whole.reshape(rows, size, columns, size)
    shown = ~np.isnan(cells)
    total, count = np.where(shown, cells, 0).sum((1, 3)), shown.sum((1, 3))
    top = np.where(shown, cells, 0).max((1, 3))
    return np.where(count > 0, top if aggregate == "max" else total / np.maximum(count, 1), np.nan)


def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 8 cells and blocks of 16: 129 tokens then have six levels, as 8,200 would."""
    for name, value in {"SIDE": 8, "_DIRECT": 1, "_BLOCK_ROWS": 16, "_BLOCK_KEYS": 16, "_QUICK_CELLS": 400}.items():
        monkeypatch.setattr(pyramid, name, value)


class Gate:
    """Maps whose blocks wait until they are let through."""

    def __init__(self, maps: Any) -> None:
        self._maps, self.open, self.begun, self.blocks = maps, threading.Event(), threading.Event(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._maps, name)

    def weights(self, *where: Any) -> np.ndarray:
        self.begun.set()
        assert self.open.wait(10)
        self.blocks += 1
        return self._maps.weights(*where)
