"""Calibrations: numbers that cannot decide are refused, not kept as a guard that flags nothing."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from heed.errors import ProfileError
from heed.guard import Calibration, Calibrations, calibrate

NOT_THRESHOLDS = [float("nan"), float("inf"), float("-inf"), 5.0, -0.1, 1.01, "0.5", True, None]


@pytest.mark.parametrize("threshold", NOT_THRESHOLDS)
def test_an_impossible_threshold_is_refused(threshold) -> None:
    with pytest.raises(ProfileError, match=r"expected a threshold in \[0, 1\], found .*: fit the calibration again"):
        Calibration(threshold)


@pytest.mark.parametrize(
    "line", [(float("nan"), 0.0), (1.0, float("inf")), (1.0, None), (None, 0.0), ("1", 0.0), (True, 0.0)]
)
def test_an_impossible_line_is_refused(line) -> None:
    with pytest.raises(ProfileError, match="expected slope and intercept as two finite numbers or none"):
        Calibration(0.5, slope=line[0], intercept=line[1])


def test_it_must_say_what_it_was_made_for() -> None:
    with pytest.raises(ProfileError, match="expected made_for as a string, found None"):
        Calibration(0.5, made_for=None)


@pytest.mark.parametrize("threshold", [0, 0.0, 1, 1.0, np.nextafter(1.0, 2.0), np.nextafter(np.float32(1), 2)])
def test_the_ends_are_thresholds(threshold) -> None:
    assert Calibration(threshold).threshold == threshold


@pytest.mark.parametrize("threshold", NOT_THRESHOLDS)
@pytest.mark.parametrize("which", ["given", "neutral"])
def test_a_damaged_file_is_refused_by_name(tmp_path, threshold, which) -> None:
    path, good = tmp_path / "calibration.json", asdict(Calibration(0.5))
    value = {"version": 1, "given": good, "neutral": good} | {which: good | {"threshold": threshold}}
    path.write_text(json.dumps(value))
    with pytest.raises(
        ProfileError, match=r"expected a threshold .* fit the calibration again \(in .*calibration.json"
    ):
        Calibrations.load(path)


def test_the_probability_is_logistic_and_never_overflows() -> None:
    known = Calibration(0.5, slope=8.0, intercept=-4.0)
    assert known.probability(0.7) == pytest.approx(1 / (1 + np.exp(-(8 * 0.7 - 4))))
    steep = Calibration(0.5, slope=1e6, intercept=-5e5)
    assert [steep.probability(0.0), steep.probability(0.5), steep.probability(1.0)] == [0.0, 0.5, 1.0]
    assert Calibration(0.5).probability(0.7) is None


def test_where_all_may_be_flagged_all_are() -> None:
    scores, labels = np.array([0.0, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    assert calibrate(scores, labels, fpr=1.0, made_for="x").threshold == 0.0


def test_where_none_may_be_flagged_and_one_is_at_the_end_none_is() -> None:
    scores, labels = np.array([0.1, 1.0, 0.8, 0.9]), np.array([0, 0, 1, 1])
    assert calibrate(scores, labels, fpr=0.0, made_for="x").threshold > 1.0


def test_scores_that_are_no_risks_are_refused() -> None:
    with pytest.raises(ProfileError, match="expected a threshold"):
        calibrate(np.array([3.0, 4.0, 8.0, 9.0]), np.array([0, 0, 1, 1]), fpr=0.0, made_for="x")
