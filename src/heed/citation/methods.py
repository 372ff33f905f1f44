"""Every way of citing by its name."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from inspect import signature
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


def method(name: str, model: Model | None, **settings: Any) -> Method:
    """The method of that name; ``a+b`` fuses the rankings of two by reciprocal rank.

    A setting goes to every part of a fusion that knows it.

    Raises
    ------
    InputError
        If there is no such method, it needs a model and has none, or none of its parts knows a setting.
    """
    parts = [_factory(part.strip(), model) for part in name.split("+")]
    known = [set(signature(part).parameters) for part in parts]
    unknown = sorted(set(settings).difference(*known))
    if unknown:
        raise InputError(
            f"expected settings of the method {name} ({', '.join(sorted(set().union(*known)))}), found {unknown}"
        )
    made = [
        part(**{key: value for key, value in settings.items() if key in own})
        for part, own in zip(parts, known, strict=True)
    ]
    return made[0] if len(made) == 1 else fusion_method(made)


def known_settings(name: str, model: Model | None) -> frozenset[str]:
    """The settings that a method, or any of those fused, takes.

    Raises
    ------
    InputError
        As `method`.
    """
    parts = [_factory(part.strip(), model) for part in name.split("+")]
    return frozenset().union(*(signature(part).parameters for part in parts))


def _factory(name: str, model: Model | None) -> Callable[..., Method]:
    if name in WITHOUT_MODEL:
        return WITHOUT_MODEL[name]
    if name not in WITH_MODEL:
        near = get_close_matches(name, NAMES, n=1)
        raise InputError(
            f"expected a method among {', '.join(NAMES)} (or two joined by +), found {name!r}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    if model is None:
        raise InputError(f"expected a model for the method {name}, found none")
    return partial(WITH_MODEL[name], model)
