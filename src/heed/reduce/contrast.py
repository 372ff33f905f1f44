"""How much attention stayed on one span rather than another: three ways of comparing two masses.

Elementwise on arrays of masses. ``own`` is the mass on the part that should be
obeyed, ``other`` the mass on the part that should not.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Aggregation = Literal["normalize_sum", "ratio", "difference"]

EPSILON = 1e-8


def normalize_sum(own: Any, other: Any) -> Any:
    """``own / (own + other)``, in [0, 1]: what the Attention Tracker's code computes.

    The paper (Hung et al. 2024, arXiv 2411.00348, eq. 3) leaves the denominator out.
    """
    return own / (own + other + EPSILON)


def ratio(own: Any, other: Any) -> Any:
    """``own / other``, clipped to [0, 1]: 1 where the own part holds at least as much as the other."""
    return (own / (other + EPSILON)).clip(0.0, 1.0)


def difference(own: Any, other: Any) -> Any:
    """``(own - other + 1) / 2``, in [0, 1]: one half where both hold the same."""
    return (own - other + 1.0) / 2.0


def against_mean(shares: Float[np.ndarray, "B L H"]) -> Float[np.ndarray, "B L H"]:
    """Each head's share minus the mean over all heads of the same prompt, in [-1, 1].

    What moves all heads alike, above all the length of the text, drops out; what a head does of its own stays.
    """
    return np.asarray(shares - shares.mean(axis=(1, 2), keepdims=True))


AGGREGATIONS: dict[Aggregation, Callable[[Any, Any], Any]] = {
    "normalize_sum": normalize_sum,
    "ratio": ratio,
    "difference": difference,
}
