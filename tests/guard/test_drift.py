"""The drift alarm: silent on scores of the calibration's kind, heard when they move, and without any text."""

import logging

import numpy as np
import pytest

from heed.errors import InputError, ProfileError
from heed.guard import Calibration, Calibrations, Drift, calibrate
from heed.measure import binomial_interval


def calibrated(scores, **more):
    return calibrate(np.asarray(scores), np.zeros(len(scores), dtype=int), made_for="x", **more)


@pytest.fixture(scope="module")
def known() -> Calibrations:
    return Calibrations(calibrated(np.random.default_rng(0).beta(2, 8, 2000)))


def alarms(drift, scores):
    return [alarm for score in scores if (alarm := drift.watch(float(score))) is not None]


@pytest.mark.parametrize("rows", [60, 3000])
def test_without_drift_an_alarm_is_as_rare_as_it_says(rows) -> None:
    """Over calibrations and windows of the same distribution; a calibration's own flagged tail included."""
    rng, heard, windows = np.random.default_rng(1), 0, 400
    for _ in range(windows):
        drift = Drift(Calibrations(calibrated(rng.beta(2, 8, rows))), window=50, false_alarm=0.05)
        while not (found := alarms(drift, rng.beta(2, 8, 1))) and drift._seen[True]:
            pass
        heard += bool(found)
    assert binomial_interval(heard, windows, level=0.99).low <= 0.05


@pytest.mark.parametrize(("a", "b", "higher"), [(3, 6, True), (1, 16, False)])
def test_scores_that_moved_are_heard_within_two_windows(known, a, b, higher, caplog) -> None:
    drift = Drift(known)
    rng = np.random.default_rng(2)
    assert alarms(drift, rng.beta(2, 8, 400)) == []
    with caplog.at_level(logging.WARNING, "heed.guard"):
        found = alarms(drift, rng.beta(a, b, 600))
    assert found
    assert (found[0].live > found[0].calibrated) is higher
    assert drift.alarm == found[-1]
    assert "run `heed guard calibrate` on recent benign texts" in caplog.text
    drift.reset()
    assert drift.alarm is None


def test_live_scores_below_all_that_were_seen_are_heard() -> None:
    drift = Drift(Calibrations(calibrated(np.random.default_rng(3).uniform(0.4, 0.6, 1000))))
    [alarm] = alarms(drift, np.full(200, 0.1))
    assert (alarm.calibrated, alarm.live) == (1.0, 0.0)


def test_flagged_scores_are_not_taken_for_benign(known) -> None:
    drift = Drift(known)
    assert alarms(drift, np.full(1000, known.given.threshold)) == []
    assert drift._seen == {True: []}


def test_each_kind_of_text_is_watched_for_itself(known) -> None:
    neutral = calibrated(np.random.default_rng(4).beta(8, 2, 2000))
    drift = Drift(Calibrations(known.given, neutral), window=20)
    for _ in range(19):
        drift.watch(0.0001, given=True)
        drift.watch(0.0001, given=False)
    assert drift.alarm is None
    drift.watch(0.0001, given=False)
    assert drift.alarm.given is False
    assert "without an instruction" in drift.alarm.message
    assert Drift(known).watch(0.1, given=False) is None


def test_it_needs_scores_to_compare_with(known) -> None:
    for lacking in (None, Calibrations(), Calibrations(Calibration(0.5))):
        with pytest.raises(ProfileError, match="expected a calibration that knows its benign scores"):
            Drift(lacking)
    for settings in ({"window": 5}, {"false_alarm": 0.0}, {"false_alarm": 1.0}):
        with pytest.raises(InputError, match="expected a window >= 20 and a rate"):
            Drift(known, **settings)
    fresh = Drift(known, window=30, false_alarm=0.01).renewed(known)
    assert (fresh.window, fresh.false_alarm) == (30, 0.01)
