"""Documents that ship with heed, each once clean and once with an injection: for demos, pages and first trials.

Comes in: nothing. Goes out: frozen `Example` values, read from the package's own file. Five kinds (an
e-mail, a web page, a tool output, a support ticket, a long document), written for heed; all names are
made up. Too few and too easy to measure a guard with, and unknown to every shipped profile.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from heed.text.span import CharSpan


@dataclass(frozen=True, slots=True)
class Example:
    """An application's instruction and a document it is applied to."""

    id: str
    """``<kind>-clean`` or ``<kind>-injected``."""
    kind: str
    """``email``, ``web``, ``tool``, ``ticket`` or ``document``."""
    instruction: str
    """What the application asks of the model."""
    data: str
    """The untrusted document."""
    label: int
    """1 if the data holds an injection, else 0."""
    injected: CharSpan | None
    """Where in ``data`` the injection stands; without it the data is that of the clean twin."""


def examples() -> tuple[Example, ...]:
    """The shipped examples: five kinds, each clean first and injected second."""
    text = files("heed.guard").joinpath("examples", "examples.jsonl").read_text(encoding="utf-8")
    return tuple(_example(json.loads(line)) for line in text.splitlines())


def _example(row: dict[str, Any]) -> Example:
    start, end = row["injected_start"], row["injected_end"]
    return Example(
        id=row["id"],
        kind=row["kind"],
        instruction=row["instruction"],
        data=row["data"],
        label=row["label"],
        injected=None if start is None else CharSpan(start, end),
    )
