"""A small scene of maps with everything in it, without any model."""

from dataclasses import replace

import numpy as np

from heed.picture.array import array_scene
from heed.text.attention import AttentionScene, Flow, NamedSpan

HOSTILE = ["<s>", "</script>", "\n", "\t", " $\\frac{$", "😀漢", "\u200fשלום", "\x1b[2J", "<!--", " end"]


def attention_scene(n: int = 10, *, layers: int = 3, heads: int = 2) -> AttentionScene:
    logits = np.random.default_rng(n).normal(size=(layers, heads, n, n)) * 2
    weights = np.exp(logits) * np.tril(np.ones((n, n)))
    tokens = [HOSTILE[place % len(HOSTILE)] for place in range(n)]
    scene = array_scene(weights / weights.sum(-1, keepdims=True), tokens, title="Attention <of> a model")
    spans = (NamedSpan("system", 0, max(1, n // 2)), NamedSpan("data", max(1, n // 2), n))
    mass = np.random.default_rng(0).dirichlet(np.ones(2), (layers, heads, 2))
    mass[:, :, 1] = np.nan if n == 1 else mass[:, :, 1]
    flow = Flow(("system", "data"), tuple(range(layers)), mass, mass.mean(1), n, n)
    return replace(scene, kind="trace", spans=spans, flow=flow, model="tiny", dtype="float32", special=(0,))
