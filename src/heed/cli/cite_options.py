"""What the commands of `heed cite` share: words of the command line come in, methods of citation go out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from heed.errors import InputError

RowsName = Literal["question", "response"]

MethodOption = Annotated[
    str, typer.Option("--method", metavar="M", help="How facts are ranked; two joined by + are fused.")
]
RowsOption = Annotated[
    RowsName | None,
    typer.Option("--rows", help="Whose tokens are looked from.", show_default="the answer's if there is one"),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method, such as sink=paper; may be repeated."),
]
RankingOption = Annotated[
    Path | None,
    typer.Option("--profile", metavar="PATH", help="Profile of `heed cite fit` for `learned`; else the one known."),
]

_OPTIONS = (
    "context", "question", "response", "rows", "generate", "method", "top", "max_new_tokens", "model", "profile",
)  # fmt: skip
"""What has an option of its own."""


def settings_of(words: Sequence[str] | None, profile: Path | None) -> dict[str, Any]:
    """Settings by name: values are JSON where they can be read as such, else text.

    Raises
    ------
    typer.BadParameter
        If a word is no NAME=VALUE, or names what has an option of its own.
    InputError
        If there is nothing at the profile's path.
    """
    found: dict[str, Any] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not name.isidentifier() or not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, found {word!r}", param_hint="--set")
        if name in _OPTIONS:
            own = f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"expected a setting of the method, found {name}: it is {own}", param_hint="--set")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    if profile is not None:
        if not profile.exists():
            raise InputError(f"expected a profile at {profile}, found nothing: check the path, or leave it out")
        found["profile"] = str(profile)
    return found


def needs_model(name: str) -> bool:
    """Whether a method, or one of those fused, reads a model; one that does not exist does not."""
    from heed.citation.methods import WITHOUT_MODEL

    return any(part.strip() not in WITHOUT_MODEL for part in name.split("+"))


def check_method(name: str, settings: dict[str, Any] | None = None) -> None:
    """Refuse a method that does not exist, or settings that it cannot take, before a model is loaded.

    Raises
    ------
    InputError
        As `heed.citation.methods.check_settings`; of the name alone without ``settings``.
    """
    from heed.citation.methods import check_settings, known_settings

    if settings is None:
        known_settings(name)
    else:
        check_settings(name, settings)
