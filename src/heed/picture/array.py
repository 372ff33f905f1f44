"""Attention that others computed: arrays checked before they are drawn.

Comes in: weights ``[seq, seq]``, ``[heads, seq, seq]`` or ``[batch, heads, seq, seq]``, and tokens. Goes out: an
`AttentionScene`. What is no attention is refused, with the place and the likely reason.
"""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from heed.errors import InputError
from heed.picture.visible import counted
from heed.text.attention import MEAN, AttentionScene, Factors, Statistic, Store

NAMES = ("attention", "attentions", "weights")
"""What the array may be called in a file; a file's only array of two to four axes may be called anything."""

_TOLERANCE = 2e-3
"""How far the sum of a row may be from 1: what 16-bit weights of some thousand keys miss it by."""


class ArrayMaps:
    """Maps that are there as one array ``[L, H, Q, T]``; NaN is hidden. See `heed.text.attention.Maps`."""

    def __init__(self, weights: Float[np.ndarray, "L H Q T"]) -> None:
        self._weights = weights
        self.identity = hashlib.sha256(np.ascontiguousarray(weights).tobytes()).hexdigest()[:32]
        shown = ~np.isnan(weights[:, 0])
        count = shown.any(-1)
        self._start = np.where(count, shown.argmax(-1), 0)
        self._end = np.where(count, weights.shape[-1] - shown[..., ::-1].argmax(-1), 0)

    def weights(self, layer: int, head: int, rows: slice, keys: slice) -> Float[np.ndarray, "q t"]:
        """Cut out a rectangle of one head, or of the mean of all."""
        if head == MEAN:
            return np.asarray(self._weights[layer, :, rows, keys].mean(0), dtype=np.float32)
        return np.asarray(self._weights[layer, head, rows, keys], dtype=np.float32)

    def visible(self, layer: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
        """For each row the stretch of keys outside of which it sees nothing."""
        return self._start[layer], self._end[layer]

    def factors(self, layer: int, store: Store) -> Factors | None:
        """There are none."""
        del layer, store
        return None


def array_scene(
    weights: ArrayLike,
    tokens: Sequence[str] | None = None,
    *,
    title: str = "Attention from an array",
    layer: int | None = None,
    head: int = MEAN,
) -> AttentionScene:
    """A picture of attention weights that somebody else computed.

    Parameters
    ----------
    weights
        ``[seq, seq]``, ``[heads, seq, seq]`` or ``[batch, heads, seq, seq]``: of each row its weights on all keys. The
        batch is what can be chosen as layer. Rows of zeros only are padding. Where everything above the diagonal is 0,
        it counts as hidden.
    tokens
        The text of each of the ``seq`` tokens; by default their numbers.

    Raises
    ------
    InputError
        If the array has another shape, is not finite, or a row does not sum to 1; or there are not as many tokens.
    """
    checked = check_array(weights)
    count = checked.shape[-1]
    if tokens is None:
        tokens = [f"#{place}" for place in range(count)]
    if len(tokens) != count or not all(isinstance(token, str) for token in tokens):
        raise InputError(
            f"expected {counted(count, 'token')} as strings, one for each row of the array, found {len(tokens)}: "
            "check that tokens and weights are of the same text, special tokens included"
        )
    empty = int((np.abs(checked).sum(-1) == 0).sum())
    zeros = "1 row holds zeros only: it is" if empty == 1 else f"{empty:,} rows hold zeros only: they are"
    exactness = f"as given in the array ({np.asarray(weights).dtype})"
    return AttentionScene(
        kind="array",
        title=title,
        tokens=tuple(tokens),
        layers=tuple(range(checked.shape[0])),
        heads=tuple(range(checked.shape[1])),
        n_rows=count,
        maps=ArrayMaps(_hidden(checked)),
        exactness=exactness,
        sinks=(0,),
        statistics=tuple(_statistics(checked)),
        facts=(("tokens", f"{count:,}"), ("batch × heads", f"{checked.shape[0]} × {checked.shape[1]}")),
        notes=(f"{zeros} taken for padding.",) if empty else (),
        layer=layer,
        head=head,
    )


def check_array(weights: ArrayLike) -> Float[np.ndarray, "L H Q T"]:
    """The weights as float32 ``[batch, heads, seq, seq]``.

    Raises
    ------
    InputError
        If they are no attention weights; the message says what they are.
    """
    given = np.asarray(weights)
    if given.dtype.kind not in "fiub" or given.ndim not in (2, 3, 4) or given.size == 0:
        raise InputError(
            "expected numbers of shape [seq, seq], [heads, seq, seq] or [batch, heads, seq, seq], found "
            f"{given.dtype} of shape {list(given.shape)}"
        )
    if given.shape[-1] != given.shape[-2]:
        raise InputError(
            f"expected as many rows as keys, found {given.shape[-2]} rows and {given.shape[-1]} keys: give the "
            "attention of a text on itself, special tokens included"
        )
    checked = given.astype(np.float32).reshape((1,) * (4 - given.ndim) + given.shape)
    _check_numbers(checked)
    _check_sums(checked)
    return checked


def load_array(path: Path) -> tuple[np.ndarray, list[str] | None]:
    """Weights and, where it holds them, ``tokens`` of an ``.npz`` file.

    Raises
    ------
    InputError
        If the file cannot be read, holds no such array or more than one, or holds Python objects.
    """
    try:
        with path.open("rb") as opened:
            held = np.load(opened, allow_pickle=False)
            if not isinstance(held, np.lib.npyio.NpzFile):
                raise InputError(f"{_WANTED}, found a single array in {path}: save both with np.savez")
            return _arrays(held, path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{_WANTED}, found {path}, which cannot be read: {error}") from error


def _arrays(held: Any, path: Path) -> tuple[np.ndarray, list[str] | None]:
    names = list(held.files)
    known = [name for name in names if name in NAMES]
    found = known or [name for name in names if name != "tokens" and held[name].ndim in (2, 3, 4)]
    if len(found) != 1:
        raise InputError(f"{_WANTED}, found {', '.join(names) or 'nothing'} in {path}: name it {NAMES[0]!r}")
    return held[found[0]], _tokens(held["tokens"]) if "tokens" in names else None


_WANTED = "expected an .npz file with one array of attention weights and, if you like, `tokens` as strings"


def _tokens(found: np.ndarray) -> list[str]:
    if found.ndim != 1 or found.dtype.kind != "U":
        raise InputError(
            f"expected tokens as one list of strings, found {found.dtype} of shape {list(found.shape)}: save "
            "np.array(tokens) of a list of str"
        )
    return [str(token) for token in found]


def _check_numbers(weights: Float[np.ndarray, "L H Q T"]) -> None:
    wrong = ~np.isfinite(weights)
    if wrong.any():
        raise InputError(
            f"expected finite weights, found {int(wrong.sum()):,} that are not; the first is "
            f"{weights[wrong][0]} at {_place(wrong)}"
        )
    wrong = weights < 0
    if wrong.any():
        raise InputError(
            f"expected weights from 0 to 1, found {int(wrong.sum()):,} below 0, the first {weights[wrong][0]:.4g} at "
            f"{_place(wrong)}: these look like scores before the softmax"
        )


def _check_sums(weights: Float[np.ndarray, "L H Q T"]) -> None:
    sums = weights.sum(-1, dtype=np.float64)
    wrong = (np.abs(sums - 1) > _TOLERANCE) & (sums != 0)
    if not wrong.any():
        return
    columns = weights.sum(-2, dtype=np.float64)
    turned = bool((np.abs(columns - 1) <= _TOLERANCE).all())
    cause = "the columns do: give weights with the keys on the last axis"
    hint = cause if turned else "they were not taken after the softmax, or were cut"
    raise InputError(
        f"expected rows that sum to 1 (within {_TOLERANCE}), found {int(wrong.sum()):,} of {wrong.size:,} that do not; "
        f"the first sums to {sums[wrong][0]:.4g}, at {_place(wrong)}: {hint}"
    )


def _place(wrong: np.ndarray) -> str:
    """Where the first True stands, by the names of the axes."""
    index = np.unravel_index(int(wrong.argmax()), wrong.shape)
    names = ("batch", "head", "row", "key")
    return ", ".join(f"{name} {int(at)}" for name, at in zip(names, index, strict=False))


def _statistics(weights: Float[np.ndarray, "L H Q T"]) -> Iterator[Statistic]:
    """What `heed.probe.head_statistics` gives of a trace, as far as weights alone can tell it."""
    layers, over = tuple(range(weights.shape[0])), f"mean over all {weights.shape[-1]:,} rows"
    logs = np.log(weights, where=weights > 0, out=np.zeros_like(weights))
    entropy = -(weights * logs).sum(-1).mean(-1)
    yield Statistic("entropy", "Entropy", f"How widely rows look; {over}.", "nats", layers, entropy)
    if weights.shape[-1] == 1:
        return
    sink = weights[:, :, 1:, 0].mean(-1)
    previous = np.diagonal(weights, -1, -2, -1).mean(-1)
    yield Statistic("sink", "First token", f"Attention on the first token; {over}.", "share", layers, sink)
    said = f"Attention on the token before; {over}."
    yield Statistic("previous", "Previous token", said, "share", layers, previous)


def _hidden(weights: Float[np.ndarray, "L H Q T"]) -> Float[np.ndarray, "L H Q T"]:
    """With NaN above the diagonal, where nothing but zeros stands there."""
    above = np.triu(np.ones(weights.shape[-2:], dtype=bool), 1)
    if weights.shape[-1] > 1 and not weights[..., above].any():
        return np.where(above, np.float32(np.nan), weights)
    return weights
