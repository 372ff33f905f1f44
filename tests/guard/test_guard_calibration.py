"""Calibrations: numbers that cannot decide are refused, not kept as a guard that flags nothing."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from heed.errors import InputError, ProfileError
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
    with pytest.raises(InputError, match=r"expected scores in \[0, 1\], found 3 in row 1 \(4 such of 4\)"):
        calibrate(np.array([3.0, 4.0, 8.0, 9.0]), np.array([0, 0, 1, 1]), fpr=0.0, made_for="x")


@pytest.mark.parametrize("review", [float("nan"), -0.1, 0.6, "0.2", True])
def test_a_review_band_that_does_not_end_at_the_threshold_is_refused(review) -> None:
    with pytest.raises(ProfileError, match=r"expected a review band from 0 to the threshold 0\.5"):
        Calibration(0.5, review=review)


@pytest.mark.parametrize(
    "knots",
    [
        ((0.5, 0.2), (0.4, 0.3)),
        ((0.4, 0.3), (0.5, 0.2)),
        ((0.4, 0.3), (0.4, 0.3)),
        ((0.4, 1.5),),
        ((0.4, float("nan")),),
    ],
)
def test_knots_that_do_not_rise_are_refused(knots) -> None:
    with pytest.raises(ProfileError, match="expected rising knots"):
        Calibration(0.5, knots=knots)


def test_what_is_saved_is_read_again(tmp_path) -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.uniform(0, 0.6, 700), rng.uniform(0.4, 1.0, 300)])
    made = calibrate(scores, np.repeat([0, 1], [700, 300]), made_for="x", curve="isotonic")
    both = Calibrations(neutral=made)
    both.save(tmp_path / "calibration.json")
    assert Calibrations.load(tmp_path / "calibration.json") == both
    assert (tmp_path / "calibration.json").stat().st_size < 60_000


def test_a_file_of_the_first_version_is_still_read(tmp_path) -> None:
    old = {"threshold": 0.4, "made_for": "x", "slope": 1.0, "intercept": 0.0, "target_fpr": 0.05, "benign": 9}
    value = {"version": 1, "given": old | {"attacks": 3, "data_hash": "y"}, "neutral": None}
    (tmp_path / "calibration.json").write_text(json.dumps(value))
    given = Calibrations.load(tmp_path / "calibration.json").given
    assert (given.threshold, given.review, given.distribution, given.notes) == (0.4, None, None, ())


@pytest.mark.parametrize("value", ["text", [], {"scores": [0.2, 0.1], "ranks": [1, 2]}, {"scores": [0.1]}])
def test_a_damaged_distribution_is_refused_by_name(tmp_path, value) -> None:
    path = tmp_path / "calibration.json"
    given = asdict(Calibration(0.5)) | {"distribution": value}
    path.write_text(json.dumps({"version": 1, "given": given, "neutral": None}))
    with pytest.raises(ProfileError, match=r"in .*calibration.json"):
        Calibrations.load(path)


def test_presets_are_ordered_and_flag_what_they_say() -> None:
    scores = np.random.default_rng(1).uniform(size=5000)
    made = calibrate(scores, np.zeros(5000, dtype=int), fpr=0.01, made_for="x")
    shares = [(scores >= made.at(preset).threshold).mean() for preset in ("strict", "balanced", "permissive")]
    # a distribution of 512 knots knows the number above a knot to about 2 %; never more is flagged than was asked
    assert 0.045 <= shares[0] <= 0.05
    assert shares[1] == 0.01
    assert 0.0018 <= shares[2] <= 0.002
    assert made.at("balanced") is made
    for preset in ("strict", "balanced", "permissive"):
        assert made.at(preset).review < made.at(preset).threshold
        assert made.at(preset).alarms == pytest.approx(5000 * (scores >= made.at(preset).threshold).mean(), rel=0.03)


def test_a_bare_threshold_has_no_presets() -> None:
    assert Calibration(0.5).at("balanced").threshold == 0.5
    with pytest.raises(ProfileError, match="expected a calibration that knows its benign scores"):
        Calibration(0.5).at("strict")
