"""Every way of citing by its name."""

from collections.abc import Callable
from difflib import get_close_matches
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
NAMES = (*WITH_MODEL, "last_quarter", *WITHOUT_MODEL)


def method(name: str, model: Model | None, **settings: Any) -> Method:
    """The method of that name; ``a+b`` fuses the rankings of two by reciprocal rank.

    Settings go to the method; those of a fusion must be known to all of its parts.

    Raises
    ------
    InputError
        If there is no such method, it needs a model and has none, or it does not know a setting.
    """
    if "+" in name:
        return fusion_method([method(part.strip(), model, **settings) for part in name.split("+")])
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=1)
        raise InputError(
            f"expected a method among {', '.join(NAMES)} (or two joined by +), found {name!r}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    try:
        if name in WITHOUT_MODEL:
            return WITHOUT_MODEL[name](**settings)
        if model is None:
            raise InputError(f"expected a model for the method {name}, found none")
        if name == "last_quarter":
            return mean_method(model, **{"layers": 0.25, **settings})
        return WITH_MODEL[name](model, **settings)
    except TypeError as error:
        raise InputError(
            f"expected settings that the method {name} knows, found {sorted(settings)}: {error}"
        ) from error
