"""Where in a text the injection stands: the windows of highest risk, and in them the sentences that raised it.

Sentences are those of the text; in JSON none reaches over the edge of a string value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from heed.guard.evidence import Share
from heed.text.evidence import WeightedSpan
from heed.text.fields import fields
from heed.text.span import CharSpan
from heed.text.split import sentences

NEAR = 2.0
"""Windows count whose log-odds lie within this much of the worst window's. Set by hand; what it gives is the character
F1 of benchmarks/GUARD.md."""
ENOUGH = 0.3
"""Sentences count that hold this much of what the heaviest sentence added to its window."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A window of a text as the guard heard it: where it lies, its risk, and what each word added to that."""

    span: CharSpan
    risk: float
    words: Sequence[Share]


def hot(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The stretches whose risk is near that of the worst."""
    odds = [_log_odds(stretch.risk) for stretch in stretches]
    return [stretch for stretch, own in zip(stretches, odds, strict=True) if own >= max(odds) - NEAR]


def passages(data: str, stretches: Sequence[Stretch]) -> tuple[WeightedSpan, ...]:
    """The sentences that raised the risk, heaviest first, neighbours joined; weights are shares that sum to 1 at most.

    Empty where nothing raised it.
    """
    held: dict[CharSpan, float] = {}
    pieces = _pieces(data)
    starts = np.array([piece.start for piece in pieces])
    for stretch in stretches:
        total = sum(word.whole for word in stretch.words)
        for word in stretch.words if total > 0 else ():
            piece = pieces[int(np.searchsorted(starts, word.span.start, side="right")) - 1]
            held[piece] = held.get(piece, 0.0) + word.whole / total
    most = max(held.values(), default=0.0)
    chosen = sorted(piece for piece, share in held.items() if share >= ENOUGH * most > 0)
    whole = sum(held[piece] for piece in chosen)
    return tuple(sorted(_joined(data, [(p, held[p] / whole) for p in chosen]), key=lambda span: -span.weight))


def _pieces(data: str) -> list[CharSpan]:
    """The text cut at the ends of its sentences and at the edges of JSON strings."""
    cuts = {0, len(data)} | {sentence.end for sentence in sentences(data)}
    cuts |= {edge for value in fields(data) if value.path for edge in (value.edges[0], value.edges[-1])}
    ends = sorted(cuts)
    return [CharSpan(start, end) for start, end in pairwise(ends)]


def _joined(data: str, chosen: list[tuple[CharSpan, float]]) -> list[WeightedSpan]:
    """Neighbours with nothing between them become one; blanks at the ends are left out."""
    spans: list[WeightedSpan] = []
    for piece, share in chosen:
        if spans and spans[-1].end == piece.start:
            before = spans.pop()
            spans.append(WeightedSpan(CharSpan(before.start, piece.end), min(1.0, before.weight + share)))
        else:
            spans.append(WeightedSpan(piece, min(1.0, share)))
    return [WeightedSpan(_trimmed(data, one.span), one.weight) for one in spans]


def _trimmed(data: str, span: CharSpan) -> CharSpan:
    text = data[span.slice()]
    start = span.start + len(text) - len(text.lstrip())
    return CharSpan(start, start + len(text.strip()))


def _log_odds(risk: float) -> float:
    bounded = min(max(risk, 1e-12), 1.0 - 1e-12)
    return float(np.log(bounded / (1.0 - bounded)))
