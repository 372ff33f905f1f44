import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import RecordError
from heed.evaluation.runs.graders import KINDS, grader_of, kind_of


def grade(response, target, **expects):
    return grader_of(target, expects, where="here")(response)


@pytest.mark.parametrize(
    ("kind", "target", "response", "status"),
    [
        ("exact", "the bats", "Answer: The  bats.", "correct"),
        ("exact", "the bats", "They fly.\n**Answer:** the bats\nGood night.", "correct"),
        ("exact", "Łódź", "łódź!", "correct"),
        ("exact", "bats", "Answer: owls", "wrong"),
        ("exact", "bats", " \n . ", "unparsed"),
        ("choice", "C", "Answer: C) Monday", "correct"),
        ("choice", "C", "(C)", "correct"),
        ("choice", "C", "C", "correct"),
        ("choice", "C", "B. Saturday", "wrong"),
        ("choice", "A", "The answer is (A).", "correct"),
        ("choice", "A", "A museum is closed on Mondays.", "unparsed"),
        ("choice", "A", "I think so", "unparsed"),
        ("numeric", "3550", "2,400 and 1,150 make 3,550", "correct"),
        ("numeric", "3550", "Answer: 3550 crowns, as 2400 + 1150", "correct"),
        ("numeric", "3550", "3551", "wrong"),
        ("numeric", "-4", "Answer: \u22124", "correct"),
        ("numeric", "25.238", "25.0", "correct"),
        ("numeric", "25.238", "28", "wrong"),
        ("numeric", "0.3", "Answer: .3", "correct"),
        ("numeric", "1200", "1.2e3", "correct"),
        ("numeric", "4", "four", "unparsed"),
        ("numeric", "4", "in 12,34 of x86", "wrong"),
        ("date", "2021-03-09", "It was on 9 March 2021.", "correct"),
        ("date", "03/09/2021", "Answer: March 9, 2021", "correct"),
        ("date", "2021-03-09", "09 Mar 2021", "correct"),
        ("date", "2021-03-09", "9/3/2021", "wrong"),
        ("date", "2021-03-09", "13/45/2021", "unparsed"),
        ("date", "2021-03-09", "in March", "unparsed"),
        ("duration", "23 days", "(3 weeks, 2 days)", "correct"),
        ("duration", "90 minutes", "Answer: 1 hour and 30 minutes", "correct"),
        ("duration", "2 years", "24 months", "correct"),
        ("duration", "1 month", "30 days", "wrong"),
        ("duration", "1 hour", "soon", "unparsed"),
    ],
)
def test_an_answer_is_graded(kind, target, response, status):
    assert grade(response, target, grader=kind).status == status


def test_limits_count_in_place_of_a_tolerance():
    for response, right in (("9.4", False), ("9.5", True), ("10.5", True), ("10.6", False)):
        assert grade(response, "10", grader="numeric", lower="9.5", upper=10.5).correct is right
    assert grade("11.9", "10", grader="numeric", tolerance=0.2).correct
    assert not grade("12.1", "10", grader="numeric", tolerance=0.2).correct


def test_any_of_several_targets_will_do():
    assert grade("Answer: bats", ("the bats", "bats"), grader="exact").correct


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (("18.519",), "numeric"),
        (("-4",), "numeric"),
        (("08/31/2023",), "date"),
        (("(3 weeks, 2 days)",), "duration"),
        (("Oslo",), "exact"),
        (("4", "four"), "exact"),
        (("7 pears",), "exact"),
    ],
)
def test_the_kind_follows_from_the_targets(targets, kind):
    assert kind_of(targets) == kind


@pytest.mark.parametrize(
    ("target", "expects", "message"),
    [
        ("x", {"grader": "regex"}, "expected a grader among exact, choice, numeric, date, duration in here, found"),
        ("x", {"grader": "numeric"}, "expected a target of kind numeric in here, found 'x'"),
        ("4", {"tolerance": "wide"}, "expected a number as tolerance in here, found 'wide'"),
        ("4", {"lower": "nan"}, "expected a number as lower in here, found 'nan'"),
        ("4", {"upper": True}, "expected a number as upper in here, found True"),
        ("4", {"tolerance": -0.1}, "expected a tolerance of 0 or more in here, found -0.1"),
        ("4", {"lower": 5, "upper": "3"}, "expected lower <= upper in here, found 5.0 and 3.0"),
        ("1e999", {}, "expected a target of kind numeric in here, found '1e999'"),
    ],
)
def test_what_cannot_be_graded_is_refused(target, expects, message):
    with pytest.raises(RecordError, match=message):
        grade("4", target, **expects)


def test_a_response_is_never_executed():
    assert grade("Answer: __import__('os').abort()", "4", grader="numeric").status == "unparsed"


@settings(max_examples=60, deadline=None)
@given(text=st.text(), kind=st.sampled_from(KINDS))
def test_any_text_gets_a_grade(text, kind):
    target = {"exact": "x", "choice": "A", "numeric": "1", "date": "2020-01-02", "duration": "1 day"}[kind]
    assert grade(text, target, grader=kind).status in ("correct", "wrong", "unparsed")


@settings(max_examples=60, deadline=None)
@given(number=st.integers(-(10**12), 10**12), words=st.text("abc \n.", max_size=10))
def test_any_whole_number_is_read_back(number, words):
    assert grade(f"{words} {number:,} {words}", str(number), grader="numeric").correct
    assert grade(f"12 pears. Answer: {number}. Not 13", str(number), grader="numeric").correct
