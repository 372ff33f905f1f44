"""Move a threshold by what users confirmed, within bounds: a calibration and confirmed verdicts in, a proposal out.

Nothing changes until the proposal is applied. It does not know where verdicts are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nextafter
from typing import Any

from heed.errors import InputError
from heed.guard.calibration import Calibration
from heed.guard.empirical import allowed
from heed.guard.feedback import Confirmed
from heed.guard.threshold import NOTHING

MOST_DRIFT = 0.1
"""Farthest that feedback may ever move a threshold from where it was calibrated."""
MOST_ALARMS = 2.0
"""It may at most double the share of the calibration's benign rows that are flagged."""
FEWEST_VERDICTS = 10


@dataclass(frozen=True, slots=True)
class Retuned:
    """A proposal: the calibration with a threshold that fits the confirmed verdicts, and why."""

    old: float
    new: float
    low: float
    """The lowest threshold the bounds leave."""
    high: float
    """The highest."""
    verdicts: int
    """Confirmed verdicts it rests on."""
    wrong_before: int
    """Of these, benign texts flagged and attacks let through at the old threshold."""
    wrong_after: int
    why: str
    calibration: Calibration
    """What to put in place: ``guard.calibrations = guard.calibrations.put(retuned.calibration, given=True)``."""

    def record(self) -> dict[str, Any]:
        """JSON-ready summary."""
        names = ("old", "new", "low", "high", "verdicts", "wrong_before", "wrong_after", "why")
        return {name: getattr(self, name) for name in names}


def retune(
    calibration: Calibration,
    confirmed: Sequence[Confirmed],
    *,
    most_drift: float = MOST_DRIFT,
    most_alarms: float = MOST_ALARMS,
) -> Retuned:
    """Propose the threshold that gets most confirmed verdicts right; of several the one nearest to the old.

    However often it is applied, the threshold stays within ``most_drift`` of the calibrated one, and never flags more
    of the calibration's benign rows than ``most_alarms`` times the share it was calibrated to. Confirmed verdicts are
    those users looked at, not a sample of the traffic: that is why these bounds are kept whatever they say.

    Raises
    ------
    InputError
        If a bound is none, or a verdict was scored by another profile.
    ProfileError
        If the calibration does not hold the benign scores it was made from.
    """
    if not (0.0 <= most_drift <= 1.0 and most_alarms >= 1.0):
        raise InputError(f"expected a drift in [0, 1] and alarms >= 1, found {most_drift} and {most_alarms}")
    foreign = [row.made_for for row in confirmed if row.made_for != calibration.made_for]
    if foreign:
        raise InputError(f"expected verdicts made for {calibration.made_for!r}, found {foreign[0]!r}: leave them out")
    base = calibration.threshold if calibration.base is None else calibration.base
    low, high = _bounds(calibration, base, most_drift, most_alarms)
    old = calibration.threshold
    best, why = min(max(old, low), high), f"{len(confirmed)} verdicts, and {FEWEST_VERDICTS} are needed: nothing moves"
    if len(confirmed) >= FEWEST_VERDICTS:
        places = {best, low, high, *(row.score for row in confirmed), *(nextafter(row.score, inf) for row in confirmed)}
        inside = [place for place in sorted(places) if low <= place <= high]
        best = min(inside, key=lambda place: (_wrong(confirmed, place), abs(place - old)))
        why = _why(confirmed, old, best, low, high)
    found = calibration if best == old else _moved(calibration, best, base)
    wrong = _wrong(confirmed, old), _wrong(confirmed, best)
    return Retuned(old, best, low, high, len(confirmed), *wrong, why, found)


def _bounds(calibration: Calibration, base: float, most_drift: float, most_alarms: float) -> tuple[float, float]:
    known = calibration.scores()
    share = max(known.reach(base) / known.count, calibration.target_fpr or 0.0)
    floor = known.threshold(allowed(min(1.0, most_alarms * share), known.count))
    return min(base, max(0.0, base - most_drift, floor)), min(NOTHING, base + most_drift)


def _wrong(confirmed: Sequence[Confirmed], threshold: float) -> int:
    return sum((row.score >= threshold) != bool(row.label) for row in confirmed)


def _why(confirmed: Sequence[Confirmed], old: float, new: float, low: float, high: float) -> str:
    false_alarms = sum(row.label == 0 and row.score >= old for row in confirmed)
    missed = sum(row.label == 1 and row.score < old for row in confirmed)
    said = f"at {old:.3f}, {false_alarms} of {len(confirmed)} confirmed verdicts were false alarms and {missed} misses"
    if new == old:
        return f"{said}; no threshold from {low:.3f} to {high:.3f} does better"
    bound = "; the bound on drift or false alarms was reached" if new in (low, high) else ""
    return f"{said}; at {new:.3f}, {_wrong(confirmed, new)} are wrong{bound}"


def _moved(calibration: Calibration, threshold: float, base: float) -> Calibration:
    note = f"feedback moved this threshold, calibrated at {base:.4f}: false alarms are counted on the old benign rows"
    notes = (*(old for old in calibration.notes if old != note), note)
    return replace(calibration.moved(threshold, calibration.target_fpr or 0.0), base=base, notes=notes)
