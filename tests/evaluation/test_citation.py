"""Measures of citation against numbers worked out by hand, and controls that expose what they are there for."""

import json

import numpy as np
import pytest

from heed.citation.data import LabelledQuestion, row_of
from heed.citation.scores import Scores
from heed.errors import InputError, TooLongError
from heed.evaluation import Controls, evaluate_citation, write_citation_report
from heed.evaluation.asked import answerable, shuffled, swapped, tell
from heed.evaluation.cited import BASELINE
from heed.evaluation.memory import peak_memory
from heed.evaluation.retrieved import measured, oracle
from heed.evaluation.write_citation import markdown

NONE = Controls(shuffled=0, swapped=0, drops=0)


@pytest.fixture(autouse=True)
def _few_repeats(monkeypatch):
    monkeypatch.setattr("heed.evaluation.citation._REPEATS", 100)


def row(name="a", gold=(1,), *, count=6, response=None, sets=None, group="set"):
    """A question that names its gold facts: fact i of row a is "a i is there." """
    units = [f"{name} {place} is there." for place in range(count)]
    text = f"Where of {name} are {' and '.join(f'{name} {place}' for place in gold)}?"
    question = row_of({"question": text, "units": units, "response": response}, "here").question
    given = (gold,) if sets is None else sets
    return LabelledQuestion(name, group, question, " ", frozenset(gold), tuple(map(frozenset, given)))


def knowing(question):
    """Finds the facts that the question names."""
    named = [fact.removesuffix(" is there.") + end in question.text for fact in question.facts for end in (" ", "?")]
    return Scores(np.array(named, float).reshape(-1, 2).max(1), passes=1)


def first(question):
    return Scores(-np.arange(len(question.units), dtype=float))


def last(question):
    return Scores(np.arange(len(question.units), dtype=float), passes=2, windows=3)


def unsure(question):
    if question.response is None:
        raise InputError("expected a response, found none")
    return knowing(question)


def test_measures_by_hand():
    found = measured([(0, 3, 1, 2)], [row(gold=(1, 3))])
    assert found["recall@1"] == [0.0]
    assert found["recall@3"] == [1.0]
    assert found["all@5"] == [1.0]
    assert found["nDCG@10"] == pytest.approx((1 / np.log2(3) + 1 / 2) / (1 + 1 / np.log2(3)))


def test_one_set_that_suffices_is_enough():
    either = row(gold=(0, 1, 5), count=8, sets=[(0, 1), (5, 1)])
    assert measured([(5, 2, 3, 4, 1, 0)], [either])["all@5"] == [1.0]
    assert measured([(5, 0, 2, 3, 4, 1)], [either])["all@5"] == [0.0]
    assert measured([()], [either])["recall@5"] == [0.0]


def test_an_oracle_cannot_place_more_gold_than_places():
    best = oracle([row(gold=tuple(range(10)), count=20), row()])
    assert best["recall@1"] == pytest.approx((0.1 + 1) / 2)
    assert best["recall@5"] == pytest.approx((0.5 + 1) / 2)
    assert best["all@5"] == 0.5
    assert best["nDCG@10"] == pytest.approx(1.0)
    assert oracle([row(gold=(0, 1, 2, 3, 4, 5), count=9, sets=[(4, 5)])])["all@5"] == 1.0


def test_answers_are_told_only_where_asked_for():
    rows = [row(response="Yes."), row("b"), row("c", gold=(), sets=())]
    assert [one.id for one in answerable(rows, "question")] == ["a", "b"]
    assert [one.id for one in answerable(rows, "response")] == ["a"]
    assert tell(rows[0].question, "question").response is None
    assert tell(rows[0].question, "response") is rows[0].question


@pytest.mark.parametrize("count", [1, 6, 63])
def test_shuffling_moves_gold_with_its_facts(count):
    one = row(gold=(0,), count=count)
    (moved,) = shuffled([one])
    assert sorted(moved.question.facts) == sorted(one.question.facts)
    assert [moved.question.facts[place] for place in moved.gold] == [one.question.facts[0]]
    assert moved.question.context == " ".join(moved.question.facts)
    assert count == 1 or moved.question.facts != one.question.facts


def test_swapping_gives_every_row_the_words_of_another():
    rows = [row(name, response=f"The {name}.") for name in "abcdefg"]
    moved = swapped(rows)
    assert sorted(one.id for one in moved) == list("abcdefg")
    own = {one.id: one.question for one in rows}
    for one in moved:
        assert one.question.context == own[one.id].context
        assert one.question.text != own[one.id].text
        assert (one.question.text, one.question.response) in {(q.text, q.response) for q in own.values()}
    assert swapped(rows[:1]) == []


def test_methods_are_held_against_the_baseline():
    rows = [row(name, gold=(2, 7), count=12) for name in "abcdefgh"]
    methods = {"knowing": knowing, BASELINE: first, "recency": last}
    told = []
    controls = Controls(shuffled=8, swapped=8, drops=0)
    found = evaluate_citation(methods, rows, model="m", controls=controls, progress=lambda *at: told.append(at))
    (only,) = found.sets
    assert told[-1] == (72, 72)
    assert (only.regime, only.rows, only.facts, only.gold) == ("question", 8, 12.0, 2.0)
    assert list(only.methods) == list(methods)
    assert {name: one.means["recall@3"] for name, one in only.methods.items()} == {
        "knowing": 1.0,
        BASELINE: 0.5,
        "recency": 0.0,
    }
    knew = only.methods["knowing"]
    assert (knew.differences["recall@3"].value, knew.differences["recall@3"].low) == (0.5, 0.5)
    assert (knew.shuffled.value, knew.passes, knew.drop) == (0.0, 1.0, None)
    assert only.methods[BASELINE].differences == {}
    assert only.methods[BASELINE].swapped == only.methods[BASELINE].means["recall@5"]  # position is all it knows
    assert knew.swapped < 1.0
    assert only.methods[BASELINE].shuffled.value != 0.0
    assert any("in up to 3 stretches" in note for note in found.notes)
    assert len(found.rankings) == 24


def test_a_method_that_refuses_is_named_and_never_flattered():
    rows = [row("a", response="Yes."), row("b"), row("c", gold=(), sets=()), row("d", gold=(0,), count=1)]
    found = evaluate_citation({BASELINE: first, "unsure": unsure}, rows, model="m", controls=NONE)
    question, response = found.sets
    assert "unsure" not in question.methods
    assert response.methods["unsure"].means["recall@1"] == 1.0
    said = "\n".join(found.notes)
    assert "1 of 4 questions of set have no gold fact" in said
    assert "1 questions of set have one fact only" in said
    assert "unsure could not be asked 3 of 3 questions of set (question), left out" in said

    def sometimes(asked):
        return unsure(asked) if " of b " in asked.text else knowing(asked)

    (again,) = evaluate_citation({"some": sometimes}, rows, model="m", controls=NONE, regimes=["question"]).sets
    assert again.methods["some"].means["recall@1"] == pytest.approx(2 / 3)
    assert (again.methods["some"].refused, again.methods["some"].differences) == (1, {})


def test_other_errors_are_not_swallowed():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate_citation({BASELINE: broken}, [row()], model="m", controls=NONE)


def test_a_slow_method_is_held_against_the_same_questions():
    rows = [row(str(number), gold=(number % 2 * 5,)) for number in range(100)]
    (found,) = evaluate_citation(
        {BASELINE: first, "slow": last}, rows, model="m", limits={"slow": 9}, controls=NONE
    ).sets
    slow = found.methods["slow"]
    assert slow.rows == 9
    on_the_same = slow.means["recall@1"] - slow.differences["recall@1"].value
    assert on_the_same == pytest.approx(1 - slow.means["recall@1"])  # one of both is right on every question


def test_slow_methods_and_log_probabilities_keep_to_short_contexts():
    rows = [row(str(number), count=9 + 20 * (number % 2), response="Yes.") for number in range(20)]
    shorter = max(len(one.question.context) for one in rows[::2])
    scored = []

    def loss(question):
        scored.append(question.context)
        return lambda removed: 1.0

    (found,) = evaluate_citation(
        {BASELINE: first, "slow": last},
        rows,
        model="m",
        regimes=("response",),
        loss=loss,
        limits={"slow": 15},
        longest=shorter,
        controls=Controls(shuffled=0, swapped=0, drops=20),
    ).sets
    assert (found.rows, found.methods[BASELINE].rows, found.methods["slow"].rows) == (20, 20, 10)
    assert len(scored) == 10
    assert max(map(len, scored)) == shorter


@pytest.mark.parametrize("rows", [[], [row()], [row(gold=(), sets=(), response="Yes.")]])
def test_nothing_to_ask_is_refused(rows):
    with pytest.raises(InputError, match="expected questions with gold facts and an answer"):
        evaluate_citation({BASELINE: first}, rows, model="m", regimes=("response",), controls=NONE)


def test_a_slow_method_that_no_context_suits_is_left_out_with_a_note():
    found = evaluate_citation(
        {BASELINE: first, "slow": last}, [row()], model="m", limits={"slow": 9}, longest=1, controls=NONE
    )
    assert list(found.sets[0].methods) == [BASELINE]
    assert any("slow was not asked about set (question)" in note for note in found.notes)
    assert any("1 of 1 contexts of set have more than 1 characters" in note for note in found.notes)


def test_log_probability_lost_is_asked_once_for_each_removal():
    rows = [row(name, gold=(2,), count=9, response="Yes.") for name in "abc"] + [row("d", count=5, response="No.")]
    calls = []

    def loss(question):
        assert question.response is not None

        def lost(removed):
            calls.append(tuple(removed))
            if "c 0" in question.context:
                raise TooLongError("too long")
            return float(2 in removed)

        return lost

    found = evaluate_citation({BASELINE: knowing, "last": last}, rows, model="m", loss=loss,
                              controls=Controls(shuffled=0, swapped=0, drops=9))  # fmt: skip
    for one in found.sets:
        assert one.methods[BASELINE].drop.value == 1.0
        assert one.methods["last"].drop.value == 0.0
    assert len(calls) == 12  # three rows, two methods, two regimes; five facts leave nothing of the fourth


def test_the_report_has_every_table_and_escapes_names(tmp_path):
    rows = [row(name, response="Yes.", group=group) for name in "ab" for group in ("<b>|x", "two")]
    found = evaluate_citation({BASELINE: first, "knowing": knowing}, rows, model="<i>m", controls=NONE)
    written = write_citation_report(found, tmp_path / "new" / "out")
    assert [path.name for path in written] == ["report.html", "report.md", "report.json", "rankings.jsonl"]
    page = written[0].read_text("utf-8")
    assert "<b>" not in page
    assert "&lt;i&gt;m" in page
    assert page.count("<svg") == 4
    report = json.loads(written[2].read_text())
    assert {one["set"] for one in report["sets"]} == {"<b>|x", "two"}
    assert report["sets"][0]["methods"]["knowing"]["difference"]["recall@1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    text = markdown(found)
    assert text.count("\n## ") == 6
    assert "&lt;b>\\|x" in text
    assert "| knowing | 1.000 (+0.000) | 1.000 (+0.000) |" in text
    assert len(written[3].read_text().splitlines()) == 16


def test_a_star_marks_what_leaves_out_zero():
    rows = [row(name, gold=(7,), count=9) for name in "abcdefgh"]
    found = evaluate_citation({BASELINE: first, "knowing": knowing}, rows, model="m", controls=NONE)
    assert ("knowing", "1.000 (+1.000*)") in found.tables()[0][1]


def test_peak_memory_sees_what_was_let_go_of():
    with peak_memory() as peak:
        kept = np.ones(40_000_000 // 8)
        del kept
    assert peak.bytes is None or peak.bytes > 30_000_000
