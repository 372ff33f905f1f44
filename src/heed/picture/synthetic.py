"""Patterns of attention by formula, for teaching: never read from a model, and marked so in every export."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from heed.errors import InputError
from heed.picture.array import array_scene
from heed.text.attention import AttentionScene

WATERMARK = "SYNTHETIC"
MOST_TOKENS = 2048

Pattern = Callable[[int], Float[np.ndarray, "n n"]]


def _uniform(n: int) -> Float[np.ndarray, "n n"]:
    """Every token looks at all tokens up to itself alike."""
    return np.ones((n, n))


def _previous(n: int) -> Float[np.ndarray, "n n"]:
    """Every token looks at the token before it."""
    return np.eye(n, k=-1) + 0.02


def _sink(n: int) -> Float[np.ndarray, "n n"]:
    """Every token looks at the first one, where heads leave attention they have no use for."""
    weights = np.full((n, n), 0.1 / n)
    weights[:, 0] = 1.0
    return weights


def _window(n: int) -> Float[np.ndarray, "n n"]:
    """Every token looks at the eight tokens up to itself."""
    distance = np.arange(n)[:, None] - np.arange(n)
    return np.where((distance >= 0) & (distance < 8), 1.0, 0.0)


def _induction(n: int) -> Float[np.ndarray, "n n"]:
    """In a text that repeats every eight tokens, every token looks at what followed its last occurrence."""
    return 5 * np.eye(n, k=-7) + 0.05


def _blocks(n: int) -> Float[np.ndarray, "n n"]:
    """Tokens look within their own sentence of ten tokens."""
    sentence = np.arange(n) // 10
    return np.where(sentence[:, None] == sentence, 1.01, 0.01)


PATTERNS: dict[str, Pattern] = {
    "uniform": _uniform,
    "previous": _previous,
    "sink": _sink,
    "window": _window,
    "induction": _induction,
    "blocks": _blocks,
}


def synthetic(name: str, n: int = 64) -> AttentionScene:
    """A causal pattern of attention over ``n`` made-up tokens; ``all``: one head for each pattern.

    Raises
    ------
    InputError
        If there is no such pattern, or ``n`` is not in [1, 2048].
    """
    if name != "all" and name not in PATTERNS:
        raise InputError(f"expected one of {', '.join(PATTERNS)} or all, found {name!r}")
    if not 1 <= n <= MOST_TOKENS:
        raise InputError(f"expected 1 to {MOST_TOKENS} tokens, found {n}")
    names = list(PATTERNS) if name == "all" else [name]
    causal = np.stack([np.tril(PATTERNS[one](n)) for one in names])
    tokens = [f" w{place % 8 + 1}" for place in range(n)]
    scene = array_scene(causal / causal.sum(-1, keepdims=True), tokens, title=f"Pattern: {name}")
    said = [f"head {head}: {one}. {PATTERNS[one].__doc__}" for head, one in enumerate(names)]
    return replace(
        scene,
        kind="synthetic",
        exactness="made by a formula, not read from any model",
        facts=(("pattern", name), ("tokens", f"{n:,}")),
        notes=("Synthetic: a pattern made for teaching. No model computed these weights.", *said),
        sinks=(),  # nothing of a pattern is discounted
        watermark=WATERMARK,
        head=0,
    )
