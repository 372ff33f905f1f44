"""A picture of attention as data: tokens, what can be asked of which layer and head, and what is known of every head.

`AttentionScene` is to maps what `heed.text.evidence.Scene` is to marked texts. The maps themselves are not in it:
whoever has them answers through `Maps`. Knows neither models nor how anything is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError
from heed.text.evidence import Scene
from heed.text.span import TokenSpan

Kind = Literal["trace", "array", "synthetic"]
View = Literal["map", "heads", "tokens", "flow", "evidence"]
Unit = Literal["share", "nats"]
Store = Literal["float32", "float16", "bfloat16"]
"""How numbers are written into a page."""

MEAN = -1
"""In place of a head: the mean of all heads of the scene."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What makes one layer's maps exact again: ``p[q, t] = exp(s - lse[q])`` with ``s = scale · q·k``, capped.

    All arrays are float32 and hold what ``store`` can hold; ``lse`` is that of these very numbers. ``group[h]`` is the
    key head that query head h uses. ``error`` is the largest difference of any weight that was compared to its exact
    value (0: none was rounded).
    """

    q: Float[np.ndarray, "H Q D"]
    k: Float[np.ndarray, "K T D"]
    lse: Float[np.ndarray, "H Q"]
    group: tuple[int, ...]
    scale: float
    softcap: float | None
    store: Store
    error: float


class Maps(Protocol):
    """Where the weights of a scene come from. Layers and heads go by the numbers the scene gives them."""

    @property
    def identity(self) -> str:
        """Hash of what the maps are made of: the same over restarts, different for different maps."""
        ...

    def weights(self, layer: int, head: int, rows: slice, keys: slice) -> Float[np.ndarray, "q t"]:
        """Exact weights of some rows (any step) on neighbouring keys, float32, in [0, 1]; NaN where a key is hidden.

        Rows and keys count from 0. Head `MEAN`: the mean of all heads. Many threads may ask.
        """
        ...

    def visible(self, layer: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
        """For each row the stretch of keys, half-open, outside of which it sees nothing."""
        ...

    def factors(self, layer: int, store: Store) -> Factors | None:
        """The factors of a layer as ``store`` can hold them; None where weights cannot be had from them alone."""
        ...


@dataclass(frozen=True, slots=True)
class NamedSpan:
    """A stretch of key tokens with a name: system, instruction, data, answer."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """A number of every head of ``layers``, ``[L, H]``, heads as in the scene; NaN where it has no meaning."""

    key: str
    label: str
    help: str
    """What it is, and over how many rows."""
    unit: Unit
    layers: tuple[int, ...]
    values: Float[np.ndarray, "L H"]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Mass between named spans: ``mass[l, h, a, b]`` is the mean over the rows of span a of the attention on span b.

    ``rollout[l, a, b]`` is the same entry of the product of all layers up to l, each halfway to the identity (Abnar and
    Zuidema 2020, arXiv 2005.00928); None where not all rows were read. NaN where no row of a span was read.
    """

    names: tuple[str, ...]
    layers: tuple[int, ...]
    mass: Float[np.ndarray, "L H S S"]
    rollout: Float[np.ndarray, "L S S"] | None
    rows_read: int
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Grounds:
    """What a result says of the very text a picture shows: its own scene, and where that stands among the keys.

    ``passages`` are the tokens of each passage of the scene, ``marks`` those of each of its marks; None where there are
    none.
    """

    scene: Scene
    passages: tuple[TokenSpan | None, ...]
    marks: tuple[tuple[TokenSpan | None, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class AttentionScene:
    """Attention of some layers and heads over some tokens, as a picture.

    ``tokens`` are the keys ``[T]``; row r is token ``r + row_offset``, or ``row_tokens[r]`` where rows are other tokens
    (cross-attention). ``exactness`` says in a sentence what the weights are; ``watermark`` is drawn across everything.
    ``layer`` and ``head`` are what is open first.

    Raises
    ------
    InputError
        If there is no token, no layer or no head, or the open layer or head is not among them.
    """

    kind: Kind
    title: str
    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    n_rows: int
    maps: Maps
    exactness: str
    model: str = ""
    dtype: str = ""
    row_tokens: tuple[str, ...] | None = None
    row_offset: int = 0
    special: tuple[int, ...] = ()
    spans: tuple[NamedSpan, ...] = ()
    sinks: tuple[int, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    flow: Flow | None = None
    grounds: Grounds | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    watermark: str | None = None
    layer: int | None = None
    head: int = MEAN
    view: View = "map"

    def __post_init__(self) -> None:
        if not (self.tokens and self.layers and self.heads and self.n_rows):
            raise InputError(
                f"expected at least one token, row, layer and head to show, found {len(self.tokens)}, {self.n_rows}, "
                f"{len(self.layers)} and {len(self.heads)}"
            )
        if self.layer is not None and self.layer not in self.layers:
            raise InputError(f"expected {_choice('layer', self.layers)}, found {self.layer}")
        if self.head != MEAN and self.head not in self.heads:
            mean = f", or {MEAN} for their mean" if len(self.heads) > 1 else ""
            raise InputError(f"expected {_choice('head', self.heads)}{mean}, found {self.head}")

    @property
    def open_layer(self) -> int:
        """The layer that is open first: the middle one if none is named."""
        return self.layers[len(self.layers) // 2] if self.layer is None else self.layer

    @property
    def rows(self) -> tuple[str, ...]:
        """The text of each row's token."""
        if self.row_tokens is not None:
            return self.row_tokens
        return self.tokens[self.row_offset : self.row_offset + self.n_rows]

    def surrogate_for(self, name: str, why: str) -> "AttentionScene":
        """The same scene, marked as the reading of another model than ``name``, which cannot be read for a reason."""
        mark = f"surrogate: {self.model}, not {name}"
        note = f"This is how {self.model} reads it. It says nothing certain of {name}, which cannot be read: {why}"
        return replace(self, watermark=mark, notes=(note, *self.notes))

    def only(self, layers: Sequence[int]) -> "AttentionScene":
        """The same scene with the maps of some of its layers; statistics and flow stay those of all.

        Raises
        ------
        InputError
            If the scene has one of the layers not, or none is named.
        """
        missing = [layer for layer in layers if layer not in self.layers]
        if missing or not layers:
            raise InputError(f"expected layers among {_listed(self.layers)}, found {list(layers)}")
        kept = tuple(layer for layer in self.layers if layer in set(layers))
        return replace(self, layers=kept, layer=self.open_layer if self.open_layer in kept else kept[0])


def _choice(what: str, numbers: Sequence[int]) -> str:
    return f"{what} {numbers[0]}, the only one" if len(numbers) == 1 else f"a {what} among {_listed(numbers)}"


def _listed(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    whole = len(numbers) > 2 and list(numbers) == list(range(first, last + 1))
    return f"{first} to {last}" if whole else ", ".join(map(str, numbers))
