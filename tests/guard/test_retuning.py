"""Retuning: confirmed verdicts move the threshold the right way, within bounds, and never by themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import InputError, ProfileError
from heed.guard import Calibration, Confirmed, calibrate, retune

KNOWN = calibrate(np.linspace(0.0, 0.6, 1000), np.zeros(1000, dtype=int), fpr=0.02, made_for="p")


def confirmed(score, label, made_for="p"):
    return Confirmed(0.0, made_for, True, score, 0.5, score >= 0.5, label, "0" * 64)


def test_false_alarms_raise_it_and_misses_lower_it() -> None:
    old = KNOWN.threshold
    alarms = [confirmed(old + 0.03, 0)] * 8 + [confirmed(old + 0.2, 1)] * 8
    raised = retune(KNOWN, alarms)
    assert old + 0.03 < raised.new <= old + 0.1
    assert (raised.wrong_before, raised.wrong_after) == (8, 0)
    missed = [confirmed(old - 0.005, 1)] * 8 + [confirmed(old - 0.2, 0)] * 8
    lowered = retune(KNOWN, missed)
    assert lowered.new == pytest.approx(old - 0.005)
    assert (lowered.wrong_before, lowered.wrong_after) == (8, 0)
    assert "8 misses" in lowered.why


def test_nothing_changes_until_it_is_applied_and_then_it_says_so() -> None:
    found = retune(KNOWN, [confirmed(0.63, 0)] * 10)
    assert KNOWN.base is None
    moved = found.calibration
    assert (moved.threshold, moved.base) == (found.new, KNOWN.threshold)
    assert moved.review <= moved.threshold
    assert (moved.alarms, moved.caught, moved.fpr_interval) == (0, None, None)
    assert sum("feedback moved this threshold" in note for note in moved.notes) == 1
    again = retune(moved, [confirmed(0.66, 0)] * 10).calibration
    assert sum("feedback moved this threshold" in note for note in again.notes) == 1


def test_however_often_applied_it_stays_near_the_calibrated_threshold() -> None:
    made = KNOWN
    for _ in range(20):
        made = retune(made, [confirmed(min(1.0, made.threshold + 0.05), 0)] * 10).calibration
    assert KNOWN.threshold < made.threshold <= KNOWN.threshold + 0.1
    for _ in range(60):
        made = retune(made, [confirmed(made.threshold - 0.004, 1)] * 10).calibration
    assert KNOWN.threshold - 0.1 <= made.threshold < KNOWN.threshold
    assert made.distribution.reach(made.threshold) <= 2 * 0.02 * 1000


rows = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), max_size=40)


@given(rows, st.floats(0, 1), st.floats(1, 10))
@settings(max_examples=80, deadline=None)
def test_no_feedback_breaks_the_bounds(rows, drift, alarms) -> None:
    found = retune(KNOWN, [confirmed(*row) for row in rows], most_drift=drift, most_alarms=alarms)
    assert found.low <= found.new <= found.high
    assert abs(found.new - KNOWN.threshold) <= drift + 1e-12
    assert KNOWN.distribution.reach(found.new) <= alarms * 0.02 * 1000
    assert found.wrong_after <= found.wrong_before
    assert found.new == found.old or len(rows) >= 10


def test_few_verdicts_move_nothing() -> None:
    found = retune(KNOWN, [confirmed(0.99, 0)] * 9)
    assert found.new == found.old
    assert found.calibration is KNOWN
    assert found.why == "9 verdicts, and 10 are needed: nothing moves"


def test_what_cannot_be_retuned_is_refused() -> None:
    with pytest.raises(ProfileError, match="expected a calibration that knows its benign scores"):
        retune(Calibration(0.5, made_for="p"), [])
    with pytest.raises(InputError, match="expected verdicts made for 'p', found 'q'"):
        retune(KNOWN, [confirmed(0.5, 1, "q")])
    for bounds in ({"most_drift": -0.1}, {"most_drift": float("nan")}, {"most_alarms": 0.5}):
        with pytest.raises(InputError, match="expected a drift in"):
            retune(KNOWN, [], **bounds)
