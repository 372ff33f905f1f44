"""A scene's numbers as a page can carry them: factors or packed weights in base64 (docs/viewer.md, section 3.3).

Comes in: an `AttentionScene`. Goes out: JSON-ready data, and the scene with a sentence that says how exact they are.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from heed.errors import InputError
from heed.text.attention import AttentionScene, Factors, Store

Precision = Literal["auto", "full", "half"]
"""``full``: what is shown is exact; ``half``: 16 bits a number; ``auto``: full for one layer if that is small."""

MOST_BYTES, LARGEST = 12_000_000, 64_000_000
"""Bytes of numbers that a page holds unless it is asked for more, and at all."""
INVISIBLE = 1 / 512
"""Differences below half a step of an 8-bit colour cannot be seen."""
_SCALE = 32768
"""What a weight is multiplied by before it is written as float16: down to 2e-9 it then keeps 11 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Numbers for a page, and the scene that belongs to them."""

    scene: AttentionScene
    data: dict[str, Any]


def embedded(scene: AttentionScene, *, layers: Sequence[int] | None = None, precision: Precision = "auto") -> Embedded:
    """Pack the maps of a scene for a page that stands alone.

    Parameters
    ----------
    layers
        Which layers; by default all, or if these are too much the one that is open first.
    precision
        See `Precision`.

    Raises
    ------
    InputError
        If the scene has no such layer, or the numbers are more than a page can hold.
    """
    chosen = scene if layers is None else scene.only(layers)
    first = _packed(chosen, chosen.open_layer, full=precision == "full")
    if layers is None and first.size * len(chosen.layers) > MOST_BYTES:
        note = f"This page holds layer {chosen.open_layer} of {len(scene.layers)}: all of them would be too large."
        chosen = replace(chosen.only([chosen.open_layer]), notes=(*chosen.notes, note))
    if precision == "auto" and len(chosen.layers) == 1:
        exact = _packed(chosen, chosen.open_layer, full=True)
        first = exact if exact.size <= MOST_BYTES else first
    whole = first.size * len(chosen.layers)
    if whole > LARGEST:
        raise InputError(
            f"expected maps of at most {LARGEST / 1e6:.0f} MB for a page, found about {whole / 1e6:.0f}: "
            "name fewer layers, or serve the page (`--serve`, `.serve()`)"
        )
    full = precision == "full"
    packs = [first if layer == chosen.open_layer else _packed(chosen, layer, full=full) for layer in chosen.layers]
    data = {str(layer): pack.data for layer, pack in zip(chosen.layers, packs, strict=True)}
    return Embedded(replace(chosen, exactness=_exactness(scene.exactness, packs)), {"layers": data})


@dataclass(frozen=True, slots=True, eq=False)
class _Pack:
    """One layer's numbers: their size in bytes before base64, and how they were rounded (empty: not at all)."""

    data: dict[str, Any]
    size: int
    rounding: str = ""
    error: float = 0.0


def _packed(scene: AttentionScene, layer: int, *, full: bool) -> _Pack:
    """The smaller of factors and weights."""
    start, end = scene.maps.visible(layer)
    entries = int((end - start).sum()) * len(scene.heads)
    own: Store = "bfloat16" if scene.dtype == "bfloat16" else "float16" if scene.dtype == "float16" else "float32"
    factors = scene.maps.factors(layer, own if full or own != "float32" else "float16")
    if not full and (factors is None or factors.error > INVISIBLE):
        factors = scene.maps.factors(layer, own)
    if factors is not None and _size(factors) < entries * (4 if full else 2):
        return _factors(factors, start, end, len(scene.tokens))
    return _weights(scene, layer, start, end, full=full)


def _size(factors: Factors) -> int:
    width = 4 if factors.store == "float32" else 2
    return width * (factors.q.size + factors.k.size) + 4 * factors.lse.size


def _factors(factors: Factors, start: Int[np.ndarray, " Q"], end: Int[np.ndarray, " Q"], n_keys: int) -> _Pack:
    data = {
        "form": "factors",
        "dtype": factors.store,
        "width": factors.q.shape[-1],
        "kv": list(factors.group),
        "scale": factors.scale,
        "softcap": factors.softcap,
        "mask": _mask(start, end, n_keys),
        "q": _base64(_stored(factors.q, factors.store)),
        "k": _base64(_stored(factors.k, factors.store)),
        "lse": _base64(factors.lse.astype("<f4")),
    }
    rounding = "" if factors.error == 0 else f"recomputed in the page from q and k rounded to {factors.store}"
    return _Pack(data, _size(factors), rounding, factors.error)


def _weights(
    scene: AttentionScene, layer: int, start: Int[np.ndarray, " Q"], end: Int[np.ndarray, " Q"], *, full: bool
) -> _Pack:
    shown = np.arange(len(scene.tokens))
    held = (shown >= start[:, None]) & (shown < end[:, None])
    whole = slice(0, len(start)), slice(0, len(shown))
    packed = np.concatenate([scene.maps.weights(layer, head, *whole)[held] for head in scene.heads])
    numbers = packed.astype("<f4") if full else (packed * _SCALE).astype("<f2")
    data = {
        "form": "weights",
        "dtype": "float32" if full else "half",
        "mask": _mask(start, end, len(scene.tokens)),
        "weights": _base64(numbers),
    }
    return _Pack(data, numbers.nbytes, "" if full else "rounded to 16 bits (relative error below 0.0005)")


def _mask(start: Int[np.ndarray, " Q"], end: Int[np.ndarray, " Q"], n_keys: int) -> dict[str, str]:
    if not start.any():
        if np.array_equal(end, np.minimum(np.arange(len(end)) + 1, n_keys)):
            return {"kind": "causal"}
        if (end == n_keys).all():
            return {"kind": "full"}
    return {"kind": "intervals", "start": _base64(start.astype("<i4")), "end": _base64(end.astype("<i4"))}


def _stored(values: np.ndarray, store: Store) -> np.ndarray:
    """Little-endian bytes of numbers that ``store`` can hold."""
    if store == "bfloat16":
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2")
    return values.astype("<f4" if store == "float32" else "<f2")


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _exactness(said: str, packs: Sequence[_Pack]) -> str:
    """What the numbers of a page are, in a sentence."""
    return "; ".join(dict.fromkeys(_sentences(said, packs)))


def _sentences(said: str, packs: Sequence[_Pack]) -> Iterator[str]:
    if any(not pack.rounding for pack in packs):
        yield said
    error = max(pack.error for pack in packs)
    for pack in packs:
        if pack.rounding:
            yield pack.rounding + (f" (largest difference found: {error:.1g})" if pack.error else "")
