"""Two guards side by side: paired differences, the ensemble, and one model in memory at a time."""

import gc
import json
import weakref
from functools import partial

import numpy as np
import pytest

from heed.errors import InputError
from heed.evaluation import compare, judge
from heed.evaluation.comparison import differences
from heed.guard import Ensemble, Guard, Verdict
from heed.guard.ensemble import Bars, combine
from heed.model import load
from heed.text.evidence import WeightedSpan
from heed.text.span import CharSpan
from tiny import tiny_folder, tiny_profile


def test_a_guard_does_not_differ_from_itself(table, rows) -> None:
    found = compare([("a", table), ("b", table)], rows)
    assert {one.set for one in found.differences} == {"one", "two", "all together"}
    assert {one.measure for one in found.differences} == {"AUROC", "TPR at 1 % FPR", "caught", "false alarms"}
    assert not any(one.differs for one in found.differences)
    assert all(one.difference.low == one.difference.high == 0 for one in found.differences)
    assert found.verdict.startswith("the ensemble (average) gains nothing over a: AUROC")
    json.dumps(found.record(), allow_nan=False)


def test_a_clear_difference_is_shown_with_its_sign(table, pair) -> None:
    rows = [pair(0.2 + 0.5 * label + 0.01 * i, label) for i in range(25) for label in (0, 1)]
    worse = partial(table, shift=-0.4)
    found = {one.measure: one for one in compare([("good", table), ("worse", worse)], rows).differences}
    assert found["caught"].differs
    assert found["caught"].difference.value == found["caught"].second - found["caught"].first < 0
    assert not found["false alarms"].differs


def test_intervals_are_paired(table, rows) -> None:
    """Both guards are wrong on the same rows: their difference is sharper than either."""
    first, second = judge(table(), rows), judge(table(shift=0.01), rows)
    found = next(d for d in differences(first, second) if d.measure == "AUROC")
    assert found.difference.high - found.difference.low < 0.01


def test_an_ensemble_of_two_halves_gains(pair, table) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 200)) * 0.25

    class Half(table):
        def __init__(self, side):
            super().__init__()
            self.side = side

        def check(self, instruction, data):
            return super().check(instruction, f"x {data.split()[-1].split('/')[self.side]}")

    rows = [
        pair("/".join(str(np.clip(0.35 + 0.3 * (i % 2) + noise[side, i], 0, 1)) for side in (0, 1)), i % 2)
        for i in range(200)
    ]
    found = compare([("left", partial(Half, 0)), ("right", partial(Half, 1))], rows)
    assert "the ensemble (average) gains over" in found.verdict
    assert found.ensemble[0].differs
    assert len(found.ensemble_table()) == 1 + len(found.ensemble)


def test_without_probabilities_there_is_no_ensemble_but_for_votes(table, rows) -> None:
    plain = partial(table, slope=None)
    found = compare([("a", plain), ("b", plain)], rows)
    assert found.ensemble == ()
    assert found.verdict.startswith("no ensemble: expected a calibrated probability from every member")
    assert "(vote)" in compare([("a", plain), ("b", plain)], rows, method="vote").verdict


def test_the_first_model_is_freed_before_the_second_is_loaded(tmp_path, rows) -> None:
    folder, profile = tiny_folder(tmp_path / "tiny"), tiny_profile(tmp_path / "profile.json")
    alive: list[weakref.ref] = []

    def make(name):
        assert [ref() for ref in alive] == [None] * len(alive), f"a model is alive when {name} is loaded"
        guard = Guard(load(folder, dtype="float32"), profile=profile, threshold=0.5)
        alive.append(weakref.ref(guard.model.hf))
        guard.itself = guard  # a ring of references, as hooks of other libraries make them: only the collector frees it
        return guard

    gc.disable()  # so that nothing but compare itself can have collected it
    try:
        found = compare([("a", partial(make, "a")), ("b", partial(make, "b"))], rows[:8])
    finally:
        gc.enable()
    assert len(alive) == 2
    assert not any(one.differs for one in found.differences)


def verdict(score: float, *, flagged: bool | None = None, spans=(), probability: float | None = 0.5) -> Verdict:
    decided = {"flagged": flagged, "score": score, "threshold": 0.5, "probability": probability}
    return Verdict("ok", "", **decided, spans=spans, seconds=1.0, tokens=2, model="m")


def test_the_average_is_of_probabilities_and_flags_where_its_members_would() -> None:
    bars = [Bars(0.2, None), Bars(0.6, None)]
    low = combine([verdict(0, flagged=False, probability=0.1), verdict(1, flagged=True, probability=0.68)], bars)
    assert (low.score, low.probability, low.threshold) == (pytest.approx(0.39), low.score, pytest.approx(0.4))
    assert low.flagged is False
    assert (low.seconds, low.tokens, low.model) == (2.0, 4, "m + m")
    high = combine([verdict(1, flagged=True, probability=0.2), verdict(1, flagged=True, probability=0.6)], bars)
    assert high.flagged is True
    assert combine([verdict(0, flagged=True)] * 2, bars, given=False).status == "uncalibrated"
    assert combine([verdict(0, flagged=True)] * 2, bars, given=False, threshold=0.5).flagged is True


def test_a_half_of_the_votes_suffices() -> None:
    yes, no = verdict(1, flagged=True, probability=None), verdict(0, flagged=False, probability=None)
    bars = [Bars(None, None)] * 3
    assert combine([yes, no], bars, method="vote").flagged is True
    assert combine([yes, no, no], bars, method="vote").flagged is False
    assert combine([yes, no, no], bars, method="vote", threshold=0.3).flagged is True
    assert combine([no, no], bars, method="vote").score == 0.0


def test_where_a_member_abstains_so_does_the_ensemble(table) -> None:
    both = Ensemble([table(), table(model="other")], method="vote")
    silent = both.check("Do.", "words none")
    assert (silent.status, silent.flagged, silent.allow) == ("too_long", None, False)
    assert "table abstained" in silent.reason
    assert [v.flagged for v in both.check_many(iter([("Do.", "w 0.9"), (None, "w 0.1")]))] == [True, False]


def test_spans_are_averaged_over_their_characters() -> None:
    spans = [
        (WeightedSpan(CharSpan(0, 10), 0.8),),
        (WeightedSpan(CharSpan(5, 15), 0.4), WeightedSpan(CharSpan(20, 22), 0.6)),
    ]
    merged = combine([verdict(1, flagged=True, spans=one) for one in spans], [Bars(0.5, 0.5)] * 2).spans
    assert [(s.start, s.end) for s in merged] == [(0, 15), (20, 22)]
    assert [s.weight for s in merged] == [pytest.approx(0.6), pytest.approx(0.3)]
    assert sum(s.weight for s in merged) <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guards": 1}, "expected two or more guards, found 1"),
        ({"method": "median"}, "expected one of average, vote, found 'median'"),
        ({"threshold": 2.0}, r"expected a threshold in \[0, 1\]"),
    ],
)
def test_impossible_ensembles_are_refused(table, settings, message) -> None:
    guards = [table()] * settings.pop("guards", 2)
    with pytest.raises(InputError, match=message):
        Ensemble(guards, **settings)
