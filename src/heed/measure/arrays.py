"""Checking what every measure takes: labels and numbers come in as the caller has them, checked arrays go out.

Labels are 0 (benign) and 1 (attack). Scores are risks: higher is worse. An abstention is NaN; only
``operating_point`` and ``penalize_abstentions`` take it. This module knows no measure.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.errors import InputError

Floats = NDArray[np.floating]
"""float16, float32 or float64: the dtype that the caller gave, where it is one of them."""


def check_labels(labels: ArrayLike, *, both: bool = False) -> NDArray[np.bool_]:
    """Labels ``[N]`` of 0 and 1 as booleans, N >= 1; with ``both`` each class must occur.

    Raises
    ------
    InputError
        If they are anything else.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"expected labels in one dimension, at least one, found shape {array.shape}: give one a row")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError(f"expected labels of 0 (benign) and 1 (attack), found {_examples(array)}: map them to 0 and 1")
    truth: NDArray[np.bool_] = array == 1
    if both and (truth.all() or not truth.any()):
        found = "attack" if truth.all() else "benign"
        raise InputError(f"expected benign rows and attacks, found {truth.size} rows, all {found}: add the other class")
    return truth


def check_numbers(values: ArrayLike, *, name: str, like: NDArray[np.bool_] | None = None, nan: bool = False) -> Floats:
    """Numbers ``[N]``, N >= 1, as many as ``like``, in their own dtype where that is floating (else float64).

    Infinities are kept; NaN is refused unless ``nan`` allows it.

    Raises
    ------
    InputError
        If they are anything else.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.ndim != 1 or array.size == 0:
        found = f"shape {array.shape} of {array.dtype}"
        raise InputError(
            f"expected {name} as real numbers in one dimension, at least one, found {found}: give one a row"
        )
    if like is not None and array.size != like.size:
        raise InputError(f"expected as many {name} as labels ({like.size}), found {array.size}: give one a row")
    numbers: Floats = array if array.dtype in (np.float16, np.float32) else array.astype(np.float64)
    if not nan and np.isnan(numbers).any():
        raise InputError(
            f"expected {name} without NaN, found {int(np.isnan(numbers).sum())} of {numbers.size}: drop those rows, or "
            "count abstentions with penalize_abstentions"
        )
    return numbers


def check_finite(values: ArrayLike, *, name: str, like: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Numbers ``[N]`` as float64, all finite.

    Raises
    ------
    InputError
        If they are anything else.
    """
    numbers = check_numbers(values, name=name, like=like).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"expected finite {name}, found {int(np.isinf(numbers).sum())} infinite: drop those rows")
    return numbers


def check_share(value: float, *, name: str, open_ended: bool = False) -> float:
    """A share in [0, 1]; with ``open_ended`` in (0, 1).

    Raises
    ------
    InputError
        If it lies outside or is NaN.
    """
    inside = 0 < value < 1 if open_ended else 0 <= value <= 1
    if not inside:
        bounds = "strictly between 0 and 1" if open_ended else "from 0 to 1"
        raise InputError(f"expected {name} {bounds}, found {value}: give a share such as 0.05, not a percentage")
    return float(value)


def _examples(array: NDArray[np.generic]) -> str:
    return ", ".join(repr(value) for value in np.unique(array.astype(str))[:4].tolist())
