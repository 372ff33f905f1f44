"""What each head of a trace does, in a few numbers, and what flows between the named spans of its prompt.

All of it is read from some rows: every row of a short prompt, evenly spaced ones of a long prompt. How many is part of
the result.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heed.errors import InputError
from heed.probe.trace import Trace
from heed.probe.view import LayerKey, LayerView, usual
from heed.reduce import heads, mass
from heed.text.span import TokenSpan

MOST_ROWS, LEAST_ROWS, _WEIGHTS = 512, 16, 1 << 18
"""A prompt of up to 512 tokens is read whole; of a longer one so many rows that they hold 2^18 weights, at least 16."""

_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class HeadStatistics:
    """Numbers of every head of some layers, ``[L, H]``, NaN where a number has no meaning, and mass between spans.

    ``values`` holds means over the rows read: ``entropy`` in nats; in [0, 1] ``sink`` (mass on the first token),
    ``previous`` (mass on the token before), ``induction`` (mass on what followed the same token earlier; NaN where no
    token comes twice). ``last`` is ``[L, H, S]``, the last row's mass on each span. ``mass`` is ``[L, H, S, S]``: the
    mean over the rows of span a of the mass on span b; NaN where none of its rows was read. ``rollout`` is
    ``[L, S, S]``, the same entry of the product of all layers so far, each the mean of its heads, halfway to the
    identity (Abnar and Zuidema 2020, arXiv 2005.00928); None unless every row was read.
    """

    layers: tuple[LayerKey, ...]
    values: Mapping[str, Float[np.ndarray, "L H"]]
    spans: tuple[str, ...]
    last: Float[np.ndarray, "L H S"]
    mass: Float[np.ndarray, "L H S S"]
    rollout: Float[np.ndarray, "L S S"] | None
    rows_read: int
    rows: int


def head_statistics(
    trace: Trace,
    *,
    layers: Sequence[LayerKey] | None = None,
    spans: Mapping[str, TokenSpan] | None = None,
    most_rows: int | None = None,
) -> HeadStatistics:
    """Measure every head of a trace.

    Parameters
    ----------
    layers
        Which; by default those that `read` would take. They must have as many heads as each other.
    spans
        Named stretches of the prompt.
    most_rows
        At most so many rows are read of each layer, evenly spaced, the last among them; see `MOST_ROWS`.

    Raises
    ------
    InputError
        If the layers differ in their number of heads, or ``most_rows`` is not positive.
    """
    if most_rows is not None and most_rows < 1:
        raise InputError(f"expected at least one row to read, found {most_rows}")
    keys = tuple(usual(trace.layers) if layers is None else layers)
    views = [trace.views[key] for key in keys]
    counts = sorted({view.q.shape[1] for view in views})
    if len(counts) != 1:
        raise InputError(f"expected layers with as many heads as each other, found {counts}: name some that are alike")
    most = most_rows or min(MOST_ROWS, max(LEAST_ROWS, _WEIGHTS // views[0].n_keys))
    rows = sampled(views[0].first_row, views[0].n_rows, most)
    question = _Question.of(_ids(trace, keys[-1]), rows, dict(spans or {}), views[0].first_key + views[0].n_keys)
    carried = question.members if question.whole and len(rows) == views[0].n_rows else None
    read: list[_Layer] = []
    for view in views:
        read.append(_read(view, question, carried))
        carried = read[-1].carried
    return HeadStatistics(
        layers=keys,
        values={name: np.stack([layer.values[name] for layer in read]) for name in read[0].values},
        spans=tuple(spans or {}),
        last=np.stack([layer.last for layer in read]),
        mass=np.stack([layer.mass for layer in read]),
        rollout=None if carried is None else np.stack([question.by_span(layer.carried) for layer in read]),
        rows_read=len(rows),
        rows=views[0].n_rows,
    )


def sampled(first: int, count: int, most: int) -> Int[Tensor, " q"]:
    """At most ``most`` of ``count`` rows from ``first`` on, evenly spaced, ending with the last."""
    return first + torch.linspace(count - 1, 0, min(count, most)).round().long().flip(0)


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked of every layer. ``ids`` is None where rows and keys are different tokens."""

    ids: Int[Tensor, " T"] | None
    rows: Int[Tensor, " q"]
    members: Float[Tensor, "T S"]
    inside: Bool[Tensor, "S q"]
    """Which rows belong to which span."""
    later: Bool[Tensor, " q"]
    twice: Bool[Tensor, " q"]

    @classmethod
    def of(
        cls, ids: Int[Tensor, " T"] | None, rows: Int[Tensor, " q"], spans: Mapping[str, TokenSpan], n_keys: int
    ) -> "_Question":
        members = torch.zeros(n_keys, len(spans))
        for column, span in enumerate(spans.values()):
            members[span.start : span.end, column] = 1.0
        none = torch.zeros(len(rows), dtype=torch.bool)
        if ids is None:
            return cls(None, rows, members, none.expand(len(spans), -1), none, none)
        return cls(ids, rows, members, members[rows].T > 0, rows > 0, heads.repeats(ids, rows).any(1))

    @property
    def whole(self) -> bool:
        """Whether rows and keys are the same tokens."""
        return self.ids is not None

    def by_span(self, values: Tensor | None) -> np.ndarray:
        """Means over the rows of each span: ``[..., q, S]`` to ``[..., S, S]``, NaN where no row was read."""
        assert values is not None
        parts = [values[..., rows, :].mean(-2) for rows in self.inside]
        found = torch.stack(parts, -2) if parts else values[..., :0, :]
        return np.asarray(found.numpy())


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    values: dict[str, np.ndarray]
    last: np.ndarray
    mass: np.ndarray
    carried: Float[Tensor, "T S"] | None


def _read(view: LayerView, question: _Question, carried: Float[Tensor, "T S"] | None) -> _Layer:
    """Reduce one layer, block by block of its rows."""
    blocks = list(_blocks(view, question, carried))
    entropy, sink, previous, induction, spread, pushed = (torch.cat(part, 2)[0] for part in zip(*blocks, strict=True))
    values = {
        "entropy": entropy.mean(-1),
        "sink": heads.mean_where(sink, question.rows > 0),
        "previous": heads.mean_where(previous, question.later),
        "induction": heads.mean_where(induction, question.twice),
    }
    onward = None if carried is None else (carried + pushed.mean(0)) / 2
    numbers = {name: value.numpy() for name, value in values.items()}
    return _Layer(numbers, spread[:, -1].numpy(), question.by_span(spread), onward)


def _blocks(
    view: LayerView, question: _Question, carried: Float[Tensor, "T S"] | None
) -> Iterator[tuple[Float[Tensor, "B H q ..."], ...]]:
    """Each row's numbers, ``[B, H, q]`` and, for the spans, ``[B, H, q, S]``; NaN where one cannot be had."""
    first = view.first_key
    step = max(1, _BLOCK_ELEMENTS // (view.q.shape[1] * view.n_keys))
    for some in torch.split(question.rows, step):
        weights = view.rows(some[None]).cpu()
        sink = previous = induction = weights.new_full(weights.shape[:3], torch.nan)
        if not first:
            sink = heads.sink_mass(weights)
        if question.ids is not None:
            previous = heads.offset_mass(weights, some - first)
            induction = heads.induction_mass(weights, heads.repeats(question.ids, some)[:, first:])
        spread = mass.span_mass(weights, question.members[None, first:])
        pushed = spread if carried is None else mass.span_mass(weights, carried[None, first:])
        yield mass.row_entropy(weights), sink, previous, induction, spread, pushed


def _ids(trace: Trace, key: LayerKey) -> Int[Tensor, " T"] | None:
    """The tokens a layer's rows and keys count; None where these are not the same."""
    view = trace.views[key]
    for ids in (trace.ids, trace.decoder_ids):
        same = ids is not None and len(ids) == view.first_key + view.n_keys == view.first_row + view.n_rows
        if same and key.kind == "self":
            return torch.from_numpy(ids)
    return None
