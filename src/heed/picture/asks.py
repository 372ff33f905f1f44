"""What a page may ask, as plain parameters, and the bytes it gets: the same for the tile server and the widget.

Comes in: the name of a question and its parameters, as strings or JSON values. Goes out: an `Ask`, which knows whether
it takes long, and a `Reply`. The bytes are those of docs/viewer.md, section 3. It knows neither HTTP nor notebooks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from heed.errors import InputError
from heed.picture.cells import Aggregate
from heed.picture.maps import Answer, Map, Stop, column, row, thumbnail
from heed.picture.pyramid import Pyramid, TileAsk
from heed.text.attention import AttentionScene

What = Literal["tile", "row", "column", "thumbnail"]
WHATS: tuple[What, ...] = get_args(What)

_HALF = 32768
"""A half-precision number holds this times the weight: 2e-9 to 1 with 11 bits."""
_DIGITS = 9

Told = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Reply:
    """Little-endian numbers, and how many of the rows they cover were read."""

    body: bytes
    rows_read: int
    rows_total: int

    @property
    def exact(self) -> bool:
        """Whether all rows were read."""
        return self.rows_read == self.rows_total


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that was understood."""

    run: Callable[[Stop, Told], Reply]
    """Answers it. Raises InputError if there is no such layer, head, tile or stretch, StoppedError if stopped."""
    slow: bool = False
    """Whether it may take seconds."""


def understand(what: str, parameters: Mapping[str, Any], scene: AttentionScene, pyramid: Pyramid) -> Ask:
    """Read a question.

    Raises
    ------
    InputError
        If there is no such question, a parameter is missing or is no such value, or there is no such layer, head,
        tile or stretch.
    """
    layer, head = _number(parameters, "layer"), _number(parameters, "head")
    if what == "tile":
        return _tile(parameters, layer, head, pyramid)
    one = Map.of(scene, layer, head)
    if what == "thumbnail":
        return Ask(lambda stop, _: _reply(thumbnail(one, scene.sinks, stop=stop), half=True))
    if what not in WHATS:
        raise InputError(f"expected one of {', '.join(WHATS)}, found {what!r}")
    start, end = _number(parameters, "start"), _number(parameters, "end")
    read = row if what == "row" else column
    return Ask(lambda stop, _: _reply(read(one, start, end, stop=stop), half=False))


def _tile(parameters: Mapping[str, Any], layer: int, head: int, pyramid: Pyramid) -> Ask:
    level, place_row, place_col = (_number(parameters, name) for name in ("level", "row", "col"))
    aggregate = _one_of(parameters, "aggregate", get_args(Aggregate))
    drop = _one_of(parameters, "sinks", ("keep", "drop")) == "drop"
    ask = TileAsk(layer, head, level, place_row, place_col, aggregate, drop)
    quick, exact = pyramid.quick(ask), _number(parameters, "exact", default=0)

    def run(stop: Stop, told: Told) -> Reply:
        found = pyramid.tile(ask, stop=stop, told=told) if exact or quick else pyramid.sampled(ask, stop=stop)
        return _reply(found, half=level > 0)

    return Ask(run, slow=bool(exact) and not quick)


def _reply(answer: Answer, *, half: bool) -> Reply:
    values = (answer.values * np.float32(_HALF)).astype("<f2") if half else answer.values.astype("<f4")
    return Reply(values.tobytes(), answer.rows_read, answer.rows_total)


def _number(parameters: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number of a few digits, written or as it is; JSON's true and false are 1 and 0."""
    value = parameters.get(name, default)
    text = str(int(value) if isinstance(value, bool | int) else value)
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= _DIGITS):
        raise InputError(f"expected a whole number as {name}, found {str(value)[:40]!r}")
    return int(text)


def _one_of(parameters: Mapping[str, Any], name: str, values: tuple[Any, ...]) -> Any:
    """One of some words, by default the first."""
    value = parameters.get(name, values[0])
    if value not in values:
        raise InputError(f"expected {' or '.join(values)} as {name}, found {str(value)[:40]!r}")
    return value
