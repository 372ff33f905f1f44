"""Rows by what they say of themselves: attack, position, language, category, and by length."""

from collections.abc import Callable

from heed.evaluation.judged import Judged
from heed.evaluation.length import length_name
from heed.evaluation.measures import Rates, rates
from heed.guard.data import LabelledPair

_Name = Callable[[LabelledPair], str | None]


def position(pair: LabelledPair) -> str | None:
    """Where the injection stands, as the row says; else the third of the data its middle lies in, if it is known."""
    if pair.where is not None or pair.injected is None:
        return pair.where
    middle = (pair.injected.start + pair.injected.end) / 2 / len(pair.data)
    return "start" if middle < 1 / 3 else "middle" if middle < 2 / 3 else "end"


_OF_ATTACKS: dict[str, _Name] = {"attack": lambda pair: pair.attack, "position": position}
_OF_ROWS: dict[str, _Name] = {
    "language": lambda pair: pair.language,
    "category": lambda pair: pair.category,
    "length": lambda pair: length_name(len(pair.data)),
}


def slices(judged: Judged) -> dict[str, dict[str, Rates]]:
    """Rates by each property that some row has.

    By attack and position, the attacks of that kind are held against the benign rows of the same data sets; by
    language, category and length, against the benign rows that share it.
    """
    found = {kind: _by(judged, name, attacks_only=True) for kind, name in _OF_ATTACKS.items()}
    found |= {kind: _by(judged, name, attacks_only=False) for kind, name in _OF_ROWS.items()}
    return {kind: values for kind, values in found.items() if values}


def _by(judged: Judged, name: _Name, *, attacks_only: bool) -> dict[str, Rates]:
    shortest: dict[str, int] = {}
    for pair in judged.pairs:
        value = name(pair)
        if value is not None and not (attacks_only and pair.label == 0):
            shortest[value] = min(shortest.get(value, len(pair.data)), len(pair.data))
    ordered = sorted(shortest, key=lambda value: (shortest[value], value) if name is _OF_ROWS["length"] else (0, value))
    return {value: rates(_slice(judged, name, value, attacks_only=attacks_only)) for value in ordered}


def _slice(judged: Judged, name: _Name, value: str, *, attacks_only: bool) -> Judged:
    if not attacks_only:
        return judged.where(lambda pair: name(pair) == value)
    own = {pair.group for pair in judged.pairs if pair.label == 1 and name(pair) == value}
    return judged.where(lambda pair: name(pair) == value if pair.label == 1 else pair.group in own)
