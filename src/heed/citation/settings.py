"""Settings of methods as callers hand them over, held against the types that the methods name."""

import math
from collections.abc import Sequence
from inspect import Parameter
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from heed.errors import InputError


def check_types(method: str, parameters: Sequence[Parameter], settings: dict[str, Any]) -> None:
    """Refuse a setting that is not of the type its parameter names.

    Numbers must be finite; ``true`` is no number; a list will do for a tuple of the same length.

    Raises
    ------
    InputError
        With the setting, its type and what was found.
    """
    for one in parameters:
        if one.name in settings and not fits(settings[one.name], one.annotation):
            raise InputError(
                f"expected the setting {one.name} of the method {method} as {spelled(one.annotation)}, found "
                f"{settings[one.name]!r}"
            )


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of an annotated type: a class, a literal, a list, a tuple, or one of several."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin in (Sequence, tuple):
        if isinstance(value, str) or not isinstance(value, Sequence):
            return False
        each = inner if origin is tuple else inner * len(value)
        return len(value) == len(each) and all(map(fits, value, each))
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number and math.isfinite(value)  # type: ignore[arg-type]
    return isinstance(value, kind)


def spelled(kind: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(spelled, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Sequence:
        return f"a list of {spelled(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(spelled, inner))}]"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
    return words.get(kind, getattr(kind, "__name__", str(kind)))
