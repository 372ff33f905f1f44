"""Every way of citing by its name."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from inspect import Parameter, signature
from typing import Any

from heed.citation.ablation import contextcite_method, leave_one_out_method
from heed.citation.attention import calibrated_method, heads_method, mean_method
from heed.citation.attrieval_method import attrieval_method
from heed.citation.embedding import embedding_method
from heed.citation.fusion import fusion_method
from heed.citation.learned import learned_method
from heed.citation.lexical import bm25_method
from heed.citation.position import lead_method, random_method, recency_method
from heed.citation.scores import Method
from heed.citation.settings import check_types
from heed.errors import InputError
from heed.model import Model

WITH_MODEL: dict[str, Callable[..., Method]] = {
    "learned": learned_method,
    "attrieval": attrieval_method,
    "all_layers": mean_method,
    "last_quarter": partial(mean_method, layers=0.25),
    "calibrated": calibrated_method,
    "heads": heads_method,
    "leave_one_out": leave_one_out_method,
    "contextcite": contextcite_method,
}
WITHOUT_MODEL: dict[str, Callable[..., Method]] = {
    "bm25": bm25_method,
    "embedding": embedding_method,
    "random": random_method,
    "lead": lead_method,
    "recency": recency_method,
}
NAMES = (*WITH_MODEL, *WITHOUT_MODEL)
_ASKED = ("rows", "prefix")


def method(name: str, model: Model | None, **settings: Any) -> Method:
    """The method of that name; ``a+b`` fuses the rankings of two by reciprocal rank.

    A setting goes to every part of a fusion that knows it.

    Raises
    ------
    InputError
        If there is no such method, it needs a model and has none, or a setting is refused; see `check_settings`.
    """
    check_settings(name, settings)
    made = [_made(part, model, settings) for part in _parts(name)]
    return made[0] if len(made) == 1 else fusion_method(made)


def check_settings(name: str, settings: dict[str, Any]) -> None:
    """Refuse a method or settings of it that cannot be, before a model is there.

    Raises
    ------
    InputError
        If there is no such method, none of its parts knows a setting, one that has no default is missing, or one is of
        another type.
    """
    parts = _parts(name)
    known = {one.name for part in parts for one in _parameters(part)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise InputError(f"expected settings of the method {name} ({', '.join(sorted(known))}), found {unknown}")
    for part in parts:
        missing = [one.name for one in _parameters(part) if one.default is Parameter.empty and one.name not in settings]
        if missing:
            raise InputError(f"expected the setting {' and '.join(missing)} of the method {part}, found none: give it")
        check_types(part, _parameters(part), settings)


def known_settings(name: str) -> frozenset[str]:
    """The settings that a method, or any of those fused, takes.

    Raises
    ------
    InputError
        If there is no such method.
    """
    return frozenset(one.name for part in _parts(name) for one in _parameters(part))


def used_settings(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a method goes by: settings given, and the defaults of the others; of a fusion by the name of each part.

    Not ``rows`` and ``prefix``, which belong to a question.

    Raises
    ------
    InputError
        If there is no such method.
    """
    used = {
        part: {one.name: settings.get(one.name, one.default) for one in _parameters(part) if one.name not in _ASKED}
        for part in _parts(name)
    }
    return used if len(used) > 1 else next(iter(used.values()))


def _parts(name: str) -> list[str]:
    """The methods that a name joins.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    parts = [part.strip() for part in name.split("+")]
    for part in parts:
        if part not in NAMES:
            near = get_close_matches(part, NAMES, n=1)
            raise InputError(
                f"expected a method among {', '.join(NAMES)} (or two joined by +), found {part!r}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
    return parts


def _parameters(name: str) -> list[Parameter]:
    """The settings of one method."""
    found = list(signature((WITH_MODEL | WITHOUT_MODEL)[name]).parameters.values())
    return found[1:] if name in WITH_MODEL else found


def _made(name: str, model: Model | None, settings: dict[str, Any]) -> Method:
    own = {one.name: settings[one.name] for one in _parameters(name) if one.name in settings}
    if name in WITHOUT_MODEL:
        return WITHOUT_MODEL[name](**own)
    if model is None:
        raise InputError(f"expected a model for the method {name}, found none")
    return WITH_MODEL[name](model, **own)
