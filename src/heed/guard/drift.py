"""Drift: whether the benign texts of today still score like those the calibration was made from.

Scores come in, now and then an alarm goes out: a sentence with numbers and no text. It does not know models.
"""

import logging
from bisect import bisect_left
from dataclasses import dataclass
from math import log, sqrt
from threading import Lock

import numpy as np

from heed.errors import InputError, ProfileError
from heed.guard.calibration import Calibration, Calibrations

WINDOW = 200
"""Scores compared at once."""
FALSE_ALARM = 0.001
"""Chance that a window raises an alarm although nothing has changed: one such alarm in 200,000 texts on the mean."""

_LOG = logging.getLogger("heed.guard")


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """One window of live scores that the calibration's benign scores do not explain."""

    given: bool
    """Whether these texts came with an instruction."""
    at: float
    """The score where both distributions differ most."""
    live: float
    """Share of the live scores above it."""
    calibrated: float
    """Share of the calibration's benign scores above it."""
    count: int
    """Live scores compared."""

    @property
    def message(self) -> str:
        """What has changed, in a sentence without any text of a user."""
        kind = "with" if self.given else "without"
        return (
            f"drift: of the last {self.count} texts {kind} an instruction that were not flagged, {self.live:.0%} score "
            f"above {self.at:.3f}, of the calibration's {self.calibrated:.0%}; the false alarms it promised are no "
            "longer known: run `heed guard calibrate` on recent benign texts"
        )


class Drift:
    """Watches the scores of texts that were not flagged, window by window.

    A full window is held against the calibration's benign scores below the same threshold by a two-sample
    Kolmogorov-Smirnov test (Kolmogorov 1933, Smirnov 1939). It alarms where they differ by more than
    ``sqrt(log(2 / a) / 2 * (n + m) / (n m))``, the first and dominating term of the limit distribution: a window
    without drift alarms with a chance of at most about ``a`` (for finite samples see Wei and Dudley, Statistics &
    Probability Letters 82, 2012). Windows do not overlap and only one is kept: a drift is seen at the end of the
    window after it began. Attacks that slip through count as drift too. Safe to feed from several threads.

    Parameters
    ----------
    calibrations
        What to compare with; each of them that knows its benign scores is watched.
    window
        Scores in a window, at least 20.
    false_alarm
        ``a``, in (0, 1).

    Raises
    ------
    InputError
        If the window or the rate is none.
    ProfileError
        If no calibration knows its benign scores.
    """

    def __init__(self, calibrations: Calibrations | None, *, window: int = WINDOW, false_alarm: float = FALSE_ALARM):
        if window < 20 or not 0.0 < false_alarm < 1.0:
            raise InputError(f"expected a window >= 20 and a rate in (0, 1), found {window} and {false_alarm}")
        both = calibrations or Calibrations()
        self._known = {
            given: known
            for given in (True, False)
            if (known := both.of(given=given)) is not None and known.distribution is not None
        }
        if not self._known:
            raise ProfileError(
                "expected a calibration that knows its benign scores, found none: run `heed guard calibrate`"
            )
        self.window, self.false_alarm = window, false_alarm
        self.alarm: DriftAlarm | None = None
        """The latest alarm; stays until `reset`."""
        self._seen: dict[bool, list[float]] = {given: [] for given in self._known}
        self._lock = Lock()

    def watch(self, score: float, *, given: bool = True) -> DriftAlarm | None:
        """Take one live score; returns the alarm if it completes a window that has drifted, and logs its message.

        Scores at or above the threshold are passed over: those texts were flagged.
        """
        known = self._known.get(given)
        if known is None or not score < known.threshold:
            return None
        with self._lock:
            seen = self._seen[given]
            seen.append(score)
            if len(seen) < self.window:
                return None
            found = _compare(known, np.sort(seen), given=given, false_alarm=self.false_alarm)
            seen.clear()
            self.alarm = found or self.alarm
        if found is not None:
            _LOG.warning(found.message)
        return found

    def renewed(self, calibrations: Calibrations) -> "Drift":
        """A fresh one with the same settings, for other calibrations."""
        return Drift(calibrations, window=self.window, false_alarm=self.false_alarm)

    def reset(self) -> None:
        """Forget the alarm and the scores of unfinished windows."""
        with self._lock:
            self.alarm = None
            for seen in self._seen.values():
                seen.clear()


def _compare(known: Calibration, live: np.ndarray, *, given: bool, false_alarm: float) -> DriftAlarm | None:
    """The alarm, or None where the window may well come from the calibration's distribution below its threshold.

    Both are compared at the distribution's knots, where it is exact: that can only make the difference smaller.
    """
    assert known.distribution is not None
    scores, ranks = known.distribution.scores, known.distribution.ranks
    below = bisect_left(scores, known.threshold)
    count = ranks[below - 1] if below else 0
    if count == 0:  # the calibration flags all of its benign rows: whatever is not flagged is unlike them
        return DriftAlarm(given, 0.0, 1.0, 0.0, len(live))
    knots = np.array([np.nextafter(scores[0], -np.inf), *scores[:below]])  # the first stands for all below the lowest
    calibrated = 1.0 - np.array([0, *ranks[:below]]) / count
    above = 1.0 - np.searchsorted(live, knots, side="right") / len(live)
    gap = np.abs(above - calibrated)
    place = int(gap.argmax())
    n, m = count, len(live)
    if gap[place] <= sqrt(log(2 / false_alarm) / 2 * (n + m) / (n * m)):
        return None
    return DriftAlarm(given, float(knots[place]), float(above[place]), float(calibrated[place]), m)
