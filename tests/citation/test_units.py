"""Facts of a context: whole sentences, or the units a caller names."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.citation.question import Question
from heed.citation.units import facts_of, units_of
from heed.errors import InputError
from heed.text.span import CharSpan


def texts(context: str, spans: tuple[CharSpan, ...]) -> list[str]:
    return [context[span.slice()] for span in spans]


def test_numbers_and_abbreviations_stay_whole() -> None:
    context = "Creatinine was 1.4 mg/dL, pH 7.44. See Fig. 2 for the course.\n\nHe was discharged."
    found = texts(context, facts_of(context))
    assert found[0] == "Creatinine was 1.4 mg/dL, pH 7.44."
    assert found[-1] == "He was discharged."
    assert "1.4 mg/dL" in found[0]
    assert any("Fig. 2 for" in fact for fact in found)


@given(st.text(max_size=200))
def test_facts_are_trimmed_stretches_in_order(context: str) -> None:
    if not any(map(str.isalnum, context)):
        with pytest.raises(InputError, match="at least one sentence"):
            facts_of(context)
        return
    spans = facts_of(context)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert all(text == text.strip() and text for text in texts(context, spans))
    left = context
    for span in reversed(spans):
        left = left[: span.start] + left[span.end :]
    assert not any(map(str.isalnum, left))


@given(st.lists(st.text("ab .", min_size=1, max_size=9).filter(str.strip), min_size=1, max_size=9))
def test_units_are_found_again(units: list[str]) -> None:
    context = "\n".join(units)
    assert texts(context, units_of(context, units)) == units


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([], "at least one unit"),
        (["one", "three"], "no 'three'"),
        (["two", "one"], "no 'one'"),
        (["one"], "'two' outside"),
        ([CharSpan(0, 3), CharSpan(2, 7)], "in order"),
        ([CharSpan(0, 99)], "in order"),
        ([CharSpan(0, 7), CharSpan(7, 7)], "text in unit 1"),
    ],
)
def test_units_that_do_not_add_up_are_refused(units, message) -> None:
    with pytest.raises(InputError, match=message):
        units_of("one two", units)


@pytest.mark.parametrize(("question", "context", "response"), [("", "a b", None), ("q", " \n", None), ("q", "a", " ")])
def test_empty_texts_are_refused(question, context, response) -> None:
    with pytest.raises(InputError, match="with text"):
        Question.of(question, context, response)


def test_punctuation_alone_is_no_fact() -> None:
    with pytest.raises(InputError, match="at least one sentence"):
        Question.of("q", "... !!! ---")
