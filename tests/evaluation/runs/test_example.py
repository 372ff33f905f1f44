import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import RecordError
from heed.evaluation.runs.example import Example, check_template, fill, split_input
from heed.text.span import CharSpan


def example(context="Rain fell. Sun shone.", question="Who {fell}?"):
    return Example(3, "three", context, question, "rain", {"grader": "exact"}, (CharSpan(0, 10),), (0,))


def test_a_record_comes_back_as_it_was():
    for one in (example(), Example(0, "0", "", "Q?", ("a", "b"))):
        assert Example.of(one.record()) == one


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{input}", "Rain fell. Sun shone.\n\nWho {fell}?"),
        ("{context}\n{question} {{x}}", "Rain fell. Sun shone.\n\nWho {fell}? {x}"),
        ("Read:\n\n{context}\n\n{question}\nBe brief.", "Read:\n\nRain fell. Sun shone.\n\nWho {fell}?\nBe brief."),
        ("{question} Read: {context} {question}", "Who {fell}? Read: Rain fell. Sun shone.\n\nWho {fell}?"),
    ],
)
def test_a_template_is_filled(template, text):
    prompt = fill(check_template(template, where="t"), example())
    assert prompt.text == text
    assert prompt.context == "Rain fell. Sun shone."


def test_a_missing_context_leaves_no_gap():
    assert fill("{context}\n\n{question}\n\nGo.", example(context="")).text == "Who {fell}?\n\nGo."
    assert fill("Read: {context} {question}", example(context="")).context == ""


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{input} {name}", "{name}"),
        ("{question}", "{question}"),
        ("{question}{context}", "{question}, {context}"),
        ("{input}{context}", "{context}, {question}, {context}"),
        ("no holes", "neither"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template, found):
    with pytest.raises(RecordError, match="in my file, found") as told:
        check_template(template, where="my file")
    assert f"found {found}" in str(told.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Note.\nMore.\n\nQuestion: why?\nIn short.", ("Note.\nMore.", "Question: why?\nIn short.")),
        ("Question: a?\n\nNote.\n\nQuestion: b?", ("Question: a?\n\nNote.", "Question: b?")),
        ("One.\n\nTwo.\n\nWhy?", ("One.\n\nTwo.", "Why?")),
        ("What is 2 + 2?", ("", "What is 2 + 2?")),
    ],
)
def test_an_input_in_one_piece_is_split(text, parts):
    assert split_input(text) == parts


@settings(max_examples=60, deadline=None)
@given(text=st.text("ab \nQuestion:.{}", max_size=60))
def test_splitting_and_filling_lose_no_word(text):
    context, question = split_input(text)
    made = fill("{input}", Example(0, "0", context, question, "x"))
    assert made.text.split() == text.split()
