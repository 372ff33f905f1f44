"""Text and weighted spans, cut into what a picture draws: runs, lines, and the stretches worth showing.

Comes in: text, spans with weights, a width. Goes out: small frozen values whose texts, joined, are the
text that came in. Knows neither HTML nor colours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from rich.cells import get_character_cell_size

from heed.errors import InputError
from heed.text.evidence import Evidence, Scene, WeightedSpan
from heed.text.span import CharSpan

LEVELS = 4
"""How many strengths of a mark a picture tells apart."""

_ROUNDING = 1e-4
_EMOJI_STYLE = "\ufe0f"  # makes the character before it one cell wider


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text that is drawn in one go: all of it marked by the same span, or by none."""

    text: str
    mark: int | None = None
    """Place of the span among the spans of its Evidence; None where nothing is marked."""
    weight: float = 0.0
    """Share in [0, 1] of that span."""


Line = tuple[Run, ...]
"""The runs of one line on screen, its line feed included."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Lines that follow one another: all of them shown, or all left out."""

    lines: tuple[Line, ...]
    shown: bool


def check(scene: Scene) -> None:
    """Refuse a scene whose numbers cannot be drawn.

    Raises
    ------
    InputError
        If risk, threshold or a weight is not in [0, 1], or the head grid is not two arrays of one
        shape ``[L, H]`` with at least one cell.
    """
    for label, value in zip(("risk", "threshold"), scene.risk or (), strict=False):
        if value is not None:
            _share(value, label)
    for passage in scene.passages:
        for span in passage.evidence.spans:
            _share(span.weight, f"weight of a mark in {passage.label!r}")
    if scene.heads is not None:
        values, weights = scene.heads.values, scene.heads.weights
        if values.ndim != 2 or values.shape != weights.shape or values.size == 0:
            raise InputError(
                f"expected head values and weights of one shape [layers, heads], found {values.shape} and "
                f"{weights.shape}; give both for every layer and head, NaN where nothing was read"
            )


def runs(evidence: Evidence) -> tuple[Run, ...]:
    """Cut a text at the edges of its spans.

    Spans are clipped to the text; where they overlap, the heaviest is drawn.
    """
    text, spans = evidence.text, evidence.spans
    owner = np.full(len(text), -1)
    for index in sorted(range(len(spans)), key=lambda i: spans[i].weight):
        owner[spans[index].span.slice()] = index
    return tuple(_run(text[start:end], int(owner[start]), spans) for start, end in _constant(owner))


def level(weight: float, heaviest: float) -> int:
    """How strongly a mark is drawn, 1 to ``LEVELS``, relative to the heaviest mark beside it."""
    share = weight / heaviest if heaviest > 0 else 0.0
    return 1 + min(LEVELS - 1, int(share * LEVELS))


def percent(weight: float) -> str:
    """A share as a reader wants it: ``62%``, ``4.1%``, ``<0.1%``."""
    if 0 < weight < 0.001:
        return "<0.1%"
    return f"{weight:.0%}" if weight >= 0.0995 or weight == 0 else f"{weight:.1%}"


def lines(pieces: Iterable[Run], *, width: int) -> tuple[Line, ...]:
    """Lay runs out in lines at most ``width`` cells wide, broken at spaces where there are any.

    Nothing is dropped: the runs of all lines, joined, are the text. A space that ends a line may
    hang over its edge.
    """
    pieces = tuple(pieces)
    text = "".join(piece.text for piece in pieces)
    ends = np.cumsum([len(piece.text) for piece in pieces])
    found = []
    for span in _line_spans(text, width):
        line, at = [], span.start
        while at < span.end:
            index = int(np.searchsorted(ends, at, side="right"))
            end = min(int(ends[index]), span.end)
            line.append(replace(pieces[index], text=text[at:end]))
            at = end
        found.append(tuple(line))
    return tuple(found)


def stretches(laid: Sequence[Line], *, around: int, whole: int, least: int) -> tuple[Stretch, ...]:
    """Choose which lines of a long text to show.

    Parameters
    ----------
    laid
        The lines, from `lines`.
    around
        How many lines to show before and after each marked line, and at both ends of the text.
    whole
        A text of at most so many lines is shown whole.
    least
        A gap of fewer lines than this is shown.
    """
    count = len(laid)
    shown = np.zeros(count, dtype=bool)
    shown[:around] = shown[max(0, count - around) :] = True
    for at, line in enumerate(laid):
        if any(run.mark is not None for run in line):
            shown[max(0, at - around) : at + around + 1] = True
    _finish_paragraphs(laid, shown)
    if count <= whole:
        shown[:] = True
    for start, end in _constant(shown):
        if end - start < least:
            shown[start:end] = True
    return tuple(Stretch(tuple(laid[start:end]), bool(shown[start])) for start, end in _constant(shown))


def joined(stretch: Stretch) -> tuple[Run, ...]:
    """The runs of a stretch with those that a line break cut put together again."""
    found: list[Run] = []
    for run in (run for line in stretch.lines for run in line):
        if found and found[-1].mark == run.mark:
            found[-1] = replace(run, text=found[-1].text + run.text)
        else:
            found.append(run)
    return tuple(found)


def _finish_paragraphs(laid: Sequence[Line], shown: np.ndarray) -> None:
    """Show a line more where that ends the gap at a paragraph's edge instead of inside it."""
    ends = [line[-1].text.endswith("\n") for line in laid]
    for at in range(len(laid) - 1):
        if shown[at] and not shown[at + 1] and not ends[at] and ends[at + 1]:
            shown[at + 1] = True
        elif shown[at + 1] and not shown[at] and not ends[at] and (at == 0 or ends[at - 1]):
            shown[at] = True


def _share(value: float, label: str) -> None:
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise InputError(
            f"expected {label} in [0, 1], found {value}; leave out what is not known instead of drawing it"
        )


def _run(text: str, index: int, spans: Sequence[WeightedSpan]) -> Run:
    return Run(text) if index < 0 else Run(text, index, spans[index].weight)


def _constant(values: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of every stretch of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(start, end) for start, end in pairwise(edges) if start < end]


def _line_spans(text: str, width: int) -> list[CharSpan]:
    found, start = [], 0
    while start < len(text):
        end = _line_end(text, start, width)
        found.append(CharSpan(start, end))
        start = end
    return found


def _line_end(text: str, start: int, width: int) -> int:
    used, after_space = 0, 0
    for at in range(start, len(text)):
        char = text[at]
        if char == "\n":
            return at + 1
        used += 1 if char == _EMOJI_STYLE else get_character_cell_size(char)
        if used > width:
            return at + 1 if char == " " else after_space or max(at, start + 1)
        if char == " ":
            after_space = at + 1
    return len(text)
