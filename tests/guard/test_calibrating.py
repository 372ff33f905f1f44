"""Making calibrations: what each method promises holds on its rows, and what it cannot promise it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import InputError
from heed.guard import calibrate
from heed.guard.calibrating import calibrate_pairs
from heed.guard.probability import FEWEST_FOR_ISOTONIC, fit_probability, unseen_loss
from heed.guard.threshold import METHODS, NOTHING
from heed.guard.verdict import Verdict
from heed.measure import Isotonic, Platt, binomial_interval, brier, isotonic, rows_needed

RNG = np.random.default_rng(0)
BENIGN, ATTACKS = RNG.beta(2, 8, 400), RNG.beta(8, 2, 150)
SCORES, LABELS = np.concatenate([BENIGN, ATTACKS]), np.repeat([0, 1], [400, 150])
risks = st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=2, max_size=80).filter(lambda x: len(set(x)) > 1)


def of_benign(scores, **settings):
    return calibrate(np.array(scores), np.zeros(len(scores), dtype=int), made_for="x", **settings)


@given(risks, st.floats(0.001, 0.5))
@settings(max_examples=60, deadline=None)
def test_fpr_is_kept_and_the_threshold_is_the_lowest(scores, fpr) -> None:
    made = of_benign(scores, fpr=fpr)
    assert (np.array(scores) >= made.threshold).mean() <= fpr
    lower = np.nextafter(made.threshold, 0)
    assert (np.array(scores) >= lower).mean() > fpr
    assert made.review <= made.threshold


@given(risks, st.floats(0.01, 0.5), st.floats(0, 1).map(lambda x: round(x, 2)))
@settings(max_examples=60, deadline=None)
def test_conformal_flags_where_the_p_value_is_small(scores, fpr, score) -> None:
    made = of_benign(scores, fpr=fpr, method="conformal")
    p_value = (1 + sum(one >= score for one in scores)) / (len(scores) + 1)
    assert made.p_value(score) == p_value
    assert (score >= made.threshold) == (p_value <= fpr)


def test_conformal_holds_for_a_text_not_seen() -> None:
    """Marginally over calibration sets: with n = 99 and fpr = 0.1 exactly 10 % (continuous scores)."""
    rng = np.random.default_rng(3)
    flagged = [
        rng.uniform() >= of_benign(rng.uniform(size=99), fpr=0.1, method="conformal").threshold for _ in range(900)
    ]
    interval = binomial_interval(sum(flagged), len(flagged), level=0.999)
    assert interval.low <= 0.1 <= interval.high


def test_conformal_with_too_few_rows_says_that_it_flags_nothing() -> None:
    made = of_benign(np.linspace(0.1, 0.9, 98), fpr=0.01, method="conformal")
    assert made.threshold == NOTHING
    assert "flags nothing: a p-value of 0.01 takes at least 99 benign rows" in made.notes[0]
    assert of_benign(np.linspace(0.1, 0.9, 99), fpr=0.01, method="conformal").threshold < 1.0


def test_rows_that_cannot_show_the_rate_are_said_to_be_too_few() -> None:
    few, enough = of_benign(np.linspace(0, 0.5, 50)), of_benign(np.linspace(0, 0.5, rows_needed(0.01)))
    assert few.rows_needed == 299
    assert any(
        "50 benign rows cannot show a rate of 1.0%" in note and "it takes 299 rows" in note for note in few.notes
    )
    assert few.fpr_interval == (0.0, binomial_interval(0, 50).high)
    assert enough.notes == ()


def test_a_rate_that_is_missed_is_said_to_be() -> None:
    made = calibrate(SCORES, LABELS, method="midpoint", fpr=0.0001, made_for="x")
    assert made.fpr > 0.0001
    assert any(
        f"{made.alarms} of 400 benign rows" in note and "more than the 0.0% asked" in note for note in made.notes
    )
    many = of_benign(np.linspace(0, 0.5, 400), abstained=(40, 0))
    assert many.alarms == 40
    assert any("40 of 440 benign rows (9.1%)" in note for note in many.notes)
    assert any("40 benign rows and 0 attacks could not be judged" in note for note in many.notes)


def test_what_could_not_be_judged_uses_up_the_alarms_allowed() -> None:
    scores = np.linspace(0, 0.9, 97)
    assert of_benign(scores, fpr=0.05, abstained=(3, 0)).alarms == 5
    assert (scores >= of_benign(scores, fpr=0.05, abstained=(3, 0)).threshold).sum() == 2
    assert (scores >= of_benign(scores, fpr=0.05, method="conformal", abstained=(3, 0)).threshold).sum() == 1


def test_separation_lies_where_the_sets_part_most() -> None:
    made = calibrate(SCORES, LABELS, method="separation", made_for="x")

    def gain(threshold):
        return (threshold <= ATTACKS).mean() - (threshold <= BENIGN).mean()

    best = max(gain(score) for score in SCORES)
    assert gain(made.threshold) == pytest.approx(best, abs=1e-12)
    apart = calibrate(np.array([0.1, 0.2, 0.6, 0.8]), np.array([0, 0, 1, 1]), method="separation", made_for="x")
    assert apart.threshold == pytest.approx(0.4)


def test_midpoint_and_percentile_are_what_they_are_called() -> None:
    assert calibrate(SCORES, LABELS, method="midpoint", made_for="x").threshold == pytest.approx(
        (BENIGN.mean() + ATTACKS.mean()) / 2
    )
    assert calibrate(SCORES, LABELS, method="percentile", fpr=0.1, made_for="x").threshold == pytest.approx(
        np.percentile(BENIGN, 90)
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_counts_its_own_alarms(method) -> None:
    made = calibrate(SCORES, LABELS, method=method, fpr=0.05, made_for="x")
    assert made.method == method
    assert made.alarms == (made.threshold <= BENIGN).sum()
    assert made.caught == (made.threshold <= ATTACKS).sum()
    assert made.fpr_interval[0] <= made.fpr <= made.fpr_interval[1]
    assert 0.0 < made.probability(0.0) < 0.5 < made.probability(1.0) < 1.0


def test_without_attacks_there_is_no_probability() -> None:
    assert of_benign(BENIGN).probability(0.5) is None


@pytest.mark.parametrize(
    ("scores", "labels", "more", "message"),
    [
        ([0.5], [0], {}, "expected at least 2 benign rows that can be judged, found 1 of 1"),
        ([0.5, 0.6], [1, 1], {}, "expected at least 2 benign rows that can be judged, found 0 of 2"),
        ([0.5, 0.5, 0.5], [0, 0, 1], {}, "expected scores that differ, found 0.5 in every row"),
        ([0.5, np.nan, 0.7], [0, 0, 1], {}, r"expected scores in \[0, 1\], found nan in row 2"),
        ([0.5, 0.6, 0.7], [0, 0, 2], {}, "expected labels of 0"),
        ([0.5, 0.6, 0.7], [0, 0], {}, "expected as many scores as labels"),
        ([0.5, 0.6], [0, 0], {"method": "midpoint"}, "expected attacks for the method 'midpoint', found none"),
        ([0.5, 0.6], [0, 0], {"method": "separation"}, "expected attacks for the method 'separation', found none"),
        ([0.5, 0.6], [0, 0], {"method": "best"}, "expected the method as one of fpr, conformal"),
        ([0.5, 0.6], [0, 0], {"fpr": 5}, "expected fpr from 0 to 1, found 5"),
        ([0.5, 0.6, 0.9], [0, 0, 1], {"curve": "step"}, "expected the curve as one of auto, platt, isotonic"),
        ([0.5, 0.9, 0.1], [0, 0, 1], {"method": "midpoint"}, "expected attacks to score above benign rows"),
        ([0.5, 0.9, 0.1], [0, 0, 1], {"method": "separation"}, "found no threshold that flags more of them"),
    ],
)
def test_rows_that_show_nothing_are_refused(scores, labels, more, message) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(np.array(scores), np.array(labels), made_for="x", **more)


def test_sets_that_cannot_be_told_apart_are_said_to_be() -> None:
    scores = np.random.default_rng(5).uniform(size=200)
    made = calibrate(scores, np.arange(200) % 2, made_for="x")
    assert any("attacks cannot be told from benign rows" in note for note in made.notes)


def test_isotonic_rises_and_is_never_certain() -> None:
    curve = isotonic(LABELS, SCORES)
    found = curve.probability(np.linspace(0, 1, 101))
    assert (np.diff(found) >= 0).all()
    assert 0.0 < found[0] < found[-1] < 1.0
    assert brier(LABELS, curve.probability(SCORES)) < brier(LABELS, np.full(550, LABELS.mean()))


def test_isotonic_pools_what_falls() -> None:
    curve = isotonic([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    assert curve.scores == (0.1, 0.2, 0.3, 0.4)
    assert curve.probabilities == pytest.approx((0.25, 0.5, 0.5, 0.75))  # targets 1/4 and 3/4


def test_the_curve_that_foretells_unseen_rows_better_is_taken() -> None:
    """A step is isotonic's case, a logistic curve Platt's; few rows are always Platt's."""
    rng = np.random.default_rng(2)
    scores = rng.uniform(size=2000)
    step = (rng.uniform(size=2000) < np.where(scores > 0.9, 0.95, 0.3)).astype(int)
    logistic = (rng.uniform(size=2000) < 1 / (1 + np.exp(-10 * (scores - 0.5)))).astype(int)
    assert unseen_loss("isotonic", step, scores) < unseen_loss("platt", step, scores)
    assert isinstance(fit_probability(step, scores), Isotonic)
    assert isinstance(fit_probability(logistic, scores), Platt)
    few = FEWEST_FOR_ISOTONIC // 2
    assert isinstance(fit_probability(step[:few], scores[:few]), Platt)


def judge(pairs):
    """A guard that finds the share of x in a text, and cannot judge an empty one."""
    return [
        Verdict("ok", "", score=data.count("x") / len(data)) if data else Verdict("empty_data", "nothing")
        for _, data in pairs
    ]


def of_pairs(benign, attacks=None, **more):
    settings = {"made_for": "x", "fpr": 0.1, "method": "fpr", "curve": "auto"} | more
    return calibrate_pairs(judge, benign, attacks, **settings)


FINE = [("Do.", "a" * n + "x") for n in range(1, 60)]


def test_pairs_are_judged_and_calibrated_on() -> None:
    made, given = of_pairs(iter(FINE), [("Do.", "xxx" + "a" * n) for n in range(3)])
    assert given
    assert (made.benign, made.attacks, made.alarms) == (59, 3, 5)
    assert len(made.data_hash) == 16
    assert made.data_hash != of_pairs(FINE)[0].data_hash
    assert of_pairs([(None, data) for _, data in FINE])[1] is False


def test_texts_that_cannot_be_judged_are_counted_and_the_first_is_named() -> None:
    made, _ = of_pairs([*FINE[:30], ("Do.", ""), *FINE[30:]], [("Do.", "xx"), ("Act.", "")])
    assert (made.benign, made.attacks) == (60, 2)
    assert "the first that could not be judged is row 31 of benign (empty_data)" in made.notes
    with pytest.raises(InputError, match=r"found 1 of 2 rows.*row 2 of benign \(empty_data\)"):
        of_pairs([FINE[0], ("Do.", "")])


def test_repeated_rows_are_reported_and_contradictions_refused() -> None:
    made, _ = of_pairs([*FINE, *FINE[:7]])
    assert "7 rows repeat an earlier one: the true intervals are wider than those shown" in made.notes
    with pytest.raises(InputError, match="found row 2 of attacks to be row 5 of benign"):
        of_pairs(FINE, [("Do.", "xxx"), FINE[4]])


@pytest.mark.parametrize("row", ["ab", ("Do.",), ("Do.", None), (3, "a"), None, {"data": "a"}])
def test_a_row_that_is_no_pair_is_named(row) -> None:
    with pytest.raises(InputError, match=r"expected a pair of instruction .* in row 3 of benign, found"):
        of_pairs([*FINE[:2], row])


def test_rows_with_and_without_an_instruction_are_not_mixed() -> None:
    with pytest.raises(InputError, match="expected rows all with an instruction or all without, found both"):
        of_pairs([*FINE, (None, "a")])
