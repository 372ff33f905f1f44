"""What a method of citation gives: a number for every fact, and what it cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from heed.citation.question import Question


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How much each of the U facts matters; higher is better, and only the order means something across methods.

    ``sentences`` is the same for each of the answer's G sentences, ``frequency`` the share of answer tokens that look
    at a fact (in [0, 1]), ``context_mass`` the share of attention that reached the context at all.
    """

    values: Float[np.ndarray, " U"]
    passes: int = 0
    """Forward passes through a model."""
    frequency: Float[np.ndarray, " U"] | None = None
    sentences: Float[np.ndarray, "G U"] | None = None
    context_mass: float | None = None
    rows: Literal["question", "response"] | None = None
    """Whose tokens were looked from, where the method has no choice."""
    windows: int = 1
    """In how many stretches the context was read; above 1 where it did not fit the model's window."""


Method = Callable[[Question], Scores]


def ranked(values: Float[np.ndarray, " U"]) -> tuple[int, ...]:
    """The places of the values, highest first; of equal ones the first first."""
    return tuple(int(place) for place in np.argsort(-values, kind="stable"))
