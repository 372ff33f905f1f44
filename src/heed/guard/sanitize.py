"""Cleaning: the stretches a guard judged injected are taken out, what remains is judged again, up to a bound.

It rests on `check_many` alone and does not know how a text is judged.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from heed.errors import InputError
from heed.guard.removal import NOTICE, Remainder, Removal
from heed.guard.verdict import Verdict

Mode = Literal["remove", "mask"]
"""Take injected stretches out, or leave `NOTICE` in their place."""

CleaningStatus = Literal["unchanged", "cleaned", "emptied", "still_flagged", "abstained"]
"""``unchanged``: it was allowed as it came. ``cleaned``: it is allowed now. The others are not allowed: nothing but
the injection was there, what remains is still flagged, or the guard abstained before or after."""


class Checker(Protocol):
    """What judges many texts at once: a `Guard`."""

    def check_many(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        """One verdict for each pair of instruction and data, in order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Sanitized:
    """A text after cleaning, with what was removed from it.

    ``text`` may pass only if ``allow``: it is what the last verdict, ``after``, judged. ``removed`` are stretches of
    the text as it came, in order, with their offsets in it: in mode ``remove`` what remains is the text without them,
    in mode ``mask`` a notice stands for each. ``bool`` is that of ``after``: true if still flagged.
    """

    text: str
    removed: tuple[Removal, ...]
    before: Verdict
    after: Verdict
    rounds: int
    """How often something was removed and the rest judged again."""

    @property
    def allow(self) -> bool:
        """Whether ``text`` may pass: only if it was judged as it is now, and not flagged."""
        return self.after.allow

    @property
    def flagged(self) -> bool | None:
        """Whether ``text`` is still flagged; None where the guard abstained."""
        return self.after.flagged

    @property
    def status(self) -> CleaningStatus:
        """How the cleaning ended."""
        if self.after.flagged is None:
            return "emptied" if self.removed and not self.text.strip() else "abstained"
        if self.after.flagged:
            return "still_flagged"
        return "cleaned" if self.removed else "unchanged"

    @property
    def reason(self) -> str:
        """How it ended, as a sentence."""
        said = {
            "unchanged": "nothing to remove",
            "cleaned": "clean now",
            "emptied": "nothing was left",
            "still_flagged": "still flagged",
            "abstained": "the guard abstained",
        }[self.status]
        size = sum(len(removal.span) for removal in self.removed)
        took = f"{size} of {len(self.before.data)} characters removed in {self.rounds} rounds, " if size else ""
        return f"{took}{said}: {self.after.reason}"

    def __bool__(self) -> bool:
        return bool(self.after)

    def record(self) -> dict[str, Any]:
        """The fields of one output line, JSON-ready."""
        return {
            "allow": self.allow,
            "status": self.status,
            "text": self.text,
            "removed": [
                {"start": r.span.start, "end": r.span.end, "text": r.text, "field": r.field or None}
                for r in self.removed
            ],
            "rounds": self.rounds,
            "reason": self.reason,
            "before": self.before.record(),
            "after": self.after.record(),
        }


def sanitize_many(
    guard: Checker, pairs: Iterable[tuple[str | None, str]], *, mode: Mode = "remove", rounds: int = 3
) -> list[Sanitized]:
    """Clean many texts at once; see `Guard.sanitize`. Each round judges in one batch what it changed.

    Raises
    ------
    InputError
        If the mode is none that exists, ``rounds`` is no whole number from 1, or a text is no string.
    """
    if mode not in ("remove", "mask"):
        raise InputError(f"expected the mode 'remove' or 'mask', found {mode!r}")
    if type(rounds) is not int or rounds < 1:
        raise InputError(f"expected a whole number of rounds from 1, found {rounds!r}")
    asked = list(pairs)
    before = guard.check_many(asked)
    after, done = list(before), [0] * len(asked)
    rest = [Remainder(data, NOTICE if mode == "mask" else "") for _, data in asked]
    for _ in range(rounds):
        cut = {
            place: rest[place].without(span.span for span in verdict.spans)
            for place, verdict in enumerate(after)
            if verdict.flagged
        }
        cut = {place: less for place, less in cut.items() if less is not rest[place]}
        if not cut:
            break
        verdicts = guard.check_many([(asked[place][0], less.text) for place, less in cut.items()])
        for (place, less), verdict in zip(cut.items(), verdicts, strict=True):
            rest[place], after[place], done[place] = less, verdict, done[place] + 1
    return [
        Sanitized(rest[place].text, rest[place].removed, before[place], after[place], done[place])
        for place in range(len(asked))
    ]
