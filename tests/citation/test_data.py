"""Rows of labelled questions: facts, gold and blanks keep their places; what does not fit the format is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.citation.data import data_hash, load_questions, row_of
from heed.errors import InputError, RecordError

ROW = {"id": "a", "question": "Who?", "units": ["Ann came.", "Bob left."], "separator": " ", "gold": [1]}


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="set.jsonl"):
        path = tmp_path / name
        lines = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return write


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=6),
       st.sampled_from(["", " ", "\n\n", " | "]))  # fmt: skip
def test_facts_are_the_units_that_have_text(units, separator):
    record = {"question": "Who?", "units": units, "separator": separator}
    if not any(unit.strip() for unit in units):
        with pytest.raises(InputError):
            row_of(record, "here")
        return
    row = row_of(record, "here")
    assert row.question.context == separator.join(units)
    assert row.question.facts == tuple(unit for unit in units if unit.strip())
    assert [units[place] for place in row.places] == list(row.question.facts)
    backwards = list(range(len(row.places)))[::-1]
    assert sorted(row.ranking(backwards)) == list(range(len(units)))
    assert row.ranking(backwards)[0] == row.places[-1]
    scores = row.scores([float(fact) for fact in range(len(row.places))])
    assert [scores[place] for place in row.places] == backwards[::-1]
    assert [place for place, score in enumerate(scores) if score is None] == list(row.blank)


def test_units_that_are_alike_have_places_of_their_own():
    row = row_of({"question": "Who?", "units": ["Yes.", "No.", "Yes."]}, "here")
    assert [span.start for span in row.question.units] == [0, 5, 9]


def test_gold_is_counted_in_facts(write):
    rows = load_questions([write({**ROW, "units": ["Ann came.", "", "Bob left."], "gold": [2]})])
    assert (rows[0].gold, rows[0].gold_sets) == ({1}, ({1},))
    assert rows[0].question.facts[1] == "Bob left."


def test_alternatives_are_kept(write):
    rows = load_questions([write({**ROW, "gold": [0, 1], "gold_sets": [[0], [1], []]}, {**ROW, "gold": []})])
    assert rows[0].gold_sets == ({0}, {1})
    assert rows[1].gold_sets == ()
    assert data_hash(rows) != data_hash(rows[:1])


def test_rows_are_drawn_with_a_fixed_seed(write):
    path = write(*({**ROW, "id": str(number)} for number in range(63)))
    drawn = [row.id for row in load_questions([path], limit=9)]
    assert drawn == [row.id for row in load_questions([path], limit=9)]
    assert len(set(drawn)) == 9
    assert len(load_questions([path], limit=100)) == 63


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": 3}, "expected question as text in set.jsonl, line 2, found 3"),
        ({"question": " "}, "expected a question with text"),
        ({"units": "Ann."}, "expected units as a list of texts"),
        ({"units": []}, "expected units as a list of texts"),
        ({"units": ["", " "]}, "expected a context with text"),
        ({"units": ["a", 3]}, "expected units as a list of texts"),
        ({"separator": None}, "expected separator as text"),
        ({"separator": " and ", "units": ["a", "b"]}, "expected units that add up to the context, found 'and'"),
        ({"response": ""}, "expected a response with text"),
        ({"response": ["a"]}, "expected response as text"),
        ({"gold": [2]}, "expected gold as a list of units with text"),
        ({"gold": [True]}, "expected gold as a list of units with text"),
        ({"gold": None}, "expected gold as a list of units with text"),
        ({"gold_sets": 3}, "expected gold_sets as lists of units"),
        ({"question": "\ud800"}, "set.jsonl, line 2"),
    ],
)
def test_a_row_that_does_not_follow_the_format_is_named(write, change, message):
    with pytest.raises(InputError, match="line 2") as error:
        load_questions([write(ROW, {**ROW, **change})])
    assert message in str(error.value)


def test_a_line_that_is_no_json_is_named(write):
    with pytest.raises(RecordError, match=r"line 2, found invalid JSON.*\(set.jsonl\)"):
        load_questions([write(ROW, b"{nope")])
    with pytest.raises(RecordError, match="found none"):
        load_questions([write(name="empty.jsonl")])
