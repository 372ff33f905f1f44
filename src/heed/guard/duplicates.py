"""Rows that occur more than once: they make a data set look larger than it is, and a fit better than it is."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heed.guard.data import LabelledPair


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Texts that two data sets share, or that one holds twice (then both names are its own)."""

    sets: tuple[str, str]
    texts: int
    """Different texts that occur in both."""
    contradictory: int
    """Those of them that are labelled benign here and attack there."""
    example: tuple[str, str]
    """The ids of the first such rows."""

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def says(self) -> str:
        """As a sentence."""
        one, other = self.sets
        where = f"stand more than once in {one}" if one == other else f"stand in both {one} and {other}"
        clash = f", {self.contradictory} of them labelled both 0 and 1" if self.contradictory else ""
        return f"{self.texts} texts {where}{clash} (first: rows {self.example[0]} and {self.example[1]})"


def duplicates(pairs: Sequence[LabelledPair]) -> tuple[Duplicates, ...]:
    """Find rows with the same instruction and data, but for white space around them."""
    same: dict[bytes, list[LabelledPair]] = defaultdict(list)
    for pair in pairs:
        same[_key(pair)].append(pair)
    shared: dict[tuple[str, str], list[list[LabelledPair]]] = defaultdict(list)
    for rows in same.values():
        for sets in _pairs_of_sets(rows):
            shared[sets].append([row for row in rows if row.group in sets])
    return tuple(_duplicates(sets, found) for sets, found in shared.items())


def _pairs_of_sets(rows: list[LabelledPair]) -> list[tuple[str, str]]:
    names = list(dict.fromkeys(row.group for row in rows))
    across = [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
    within = [(name, name) for name in names if sum(row.group == name for row in rows) > 1]
    return across + within


def _duplicates(sets: tuple[str, str], found: list[list[LabelledPair]]) -> Duplicates:
    first = found[0]
    one = next(row for row in first if row.group == sets[0])
    other = next(row for row in first if row.group == sets[1] and row is not one)
    contradictory = sum(len({row.label for row in rows}) == 2 for rows in found)
    return Duplicates(sets, len(found), contradictory, (one.id, other.id))


def _key(pair: LabelledPair) -> bytes:
    instruction = None if pair.instruction is None else pair.instruction.strip()
    return hashlib.sha256(json.dumps([instruction, pair.data.strip()]).encode()).digest()
