"""The values through which uses and pictures meet: Evidence, and the Scene that a picture is drawn from.

They hold text, spans and numbers. They know neither models nor how anything is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from heed.text.span import CharSpan

if TYPE_CHECKING:
    from heed.text.attention import AttentionScene

Tone = Literal["good", "bad", "unsure", "neutral"]
"""What a picture's headline feels like; drawn as colour and as a word, never as colour alone."""


@dataclass(frozen=True, slots=True)
class WeightedSpan:
    """A stretch of the caller's own text and how much it weighs.

    ``weight`` is a share in [0, 1]; the weights of one Evidence sum to at most 1.
    """

    span: CharSpan
    weight: float

    @property
    def start(self) -> int:
        """First character."""
        return self.span.start

    @property
    def end(self) -> int:
        """One past the last character."""
        return self.span.end


@dataclass(frozen=True, slots=True)
class Evidence:
    """A text and the stretches of it that a result rests on, heaviest first."""

    text: str
    spans: tuple[WeightedSpan, ...] = ()

    def words(self) -> tuple[str, ...]:
        """The text of each span, in the order of the spans."""
        return tuple(self.text[s.start : s.end] for s in self.spans)


@dataclass(frozen=True, slots=True)
class Passage:
    """One block of text in a scene: what it is (``instruction``, ``data``), and what is marked in it."""

    label: str
    evidence: Evidence
    marks_name: str = ""
    """What the marks mean, for the legend; empty where nothing is marked."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadGrid:
    """A number for every layer and head, e.g. the share of attention that stayed on the instruction.

    ``values`` is ``[L, H]``, NaN where nothing was read; ``weights`` has the same shape and is zero
    for heads that the result does not rest on.
    """

    title: str
    values: np.ndarray
    weights: np.ndarray
    low: str
    """What the lower end of the scale (0) means."""
    high: str
    """What the upper end of the scale (1) means."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture as data: what is shown, not how."""

    title: str
    headline: str
    tone: Tone
    passages: tuple[Passage, ...]
    facts: tuple[tuple[str, str], ...] = ()
    """Label and value, in the order shown (risk, threshold, seconds, model …)."""
    risk: tuple[float, float | None] | None = None
    """A number in [0, 1] and the threshold it is held against (None: no threshold known)."""
    heads: HeadGrid | None = None
    notes: Sequence[str] = ()


class Drawable(Protocol):
    """Anything that can describe itself as a scene: a verdict, a citation, a trace."""

    def scene(self) -> "Scene | AttentionScene":
        """Describe this as a picture."""
        ...
