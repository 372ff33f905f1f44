"""Options that belong together as one parameter: a dataclass whose fields are options, spread over the command line."""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the fields of its dataclass parameters as options of their own.

    Every parameter must be keyword-only; the fields' annotations are typer's, their defaults are the options'.
    """
    groups = {
        name: kind
        for name, kind in get_type_hints(command, include_extras=True).items()
        if is_dataclass(kind) and isinstance(kind, type)
    }

    @wraps(command)
    def spread(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field: given.pop(field) for field in inspect.signature(kind).parameters})
        command(**given)

    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        parameters += _fields(groups[name]) if name in groups else [parameter]
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return spread


def _fields(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in inspect.signature(kind).parameters.values()
    ]
