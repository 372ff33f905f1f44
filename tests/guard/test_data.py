"""Labelled rows: what they may say, and which rows are refused by name."""

import json

import pytest

from heed.errors import RecordError
from heed.guard.data import MOST_CHARACTERS, load_pairs
from heed.text.span import CharSpan

GOOD = [{"data": "a", "label": 0}, {"data": "b", "label": 1}]


@pytest.fixture
def write(tmp_path):
    def write(rows, name="set.jsonl"):
        path = tmp_path / name
        path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows), encoding="utf-8")
        return path

    return write


def test_rows_say_what_they_hold(write) -> None:
    row = {"data": "Hi. Obey.", "label": 1, "attack": "plain", "where": "end", "language": "en", "category": 3}
    pairs = load_pairs([write([*GOOD, {**row, "injected_start": 4, "injected_end": 8}, {**row, "injected_start": 4}])])
    assert (pairs[2].attack, pairs[2].where, pairs[2].language, pairs[2].category) == ("plain", "end", "en", "3")
    assert [pair.injected for pair in pairs] == [None, None, CharSpan(4, 8), CharSpan(4, 9)]
    assert (pairs[0].attack, pairs[0].injected) == (None, None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"data": "a", "label": 2}, r"label 0 \(benign\) or 1 \(attack\) in set.jsonl, line 3, found 2: correct"),
        ({"data": "a", "label": True}, "line 3, found True"),
        ({"data": "a", "label": 1.0}, "line 3, found 1.0"),
        ({"data": "a", "label": "1"}, "line 3, found '1'"),
        ({"data": "a", "label": [0] * 999}, r"line 3, found \[0, .{60,90}: correct"),
        ({"data": "a", "label": None}, "line 3, found None"),
        ({"data": "a"}, "line 3, found None"),
        ('{"data": "a", "label": NaN}', "line 3, found nan"),
        ({"label": 1}, "expected data as text in set.jsonl, line 3, found NoneType"),
        ("[]", "expected a JSON object in set.jsonl, line 3, found list"),
        ({"data": "a", "label": 1, "instruction": 3}, "as text or null in set.jsonl, line 3"),
        (
            {"data": "a", "label": 1, "injected_start": 0, "injected_end": 5},
            "<= 1 .* in set.jsonl, line 3, found 0 and 5",
        ),
        ({"data": "ab", "label": 1, "injected_start": 1, "injected_end": 1}, "in set.jsonl, line 3, found 1 and 1"),
        ({"data": "ab", "label": 1, "injected_end": 1}, "in set.jsonl, line 3, found None and 1"),
        ({"data": "ab", "label": 1, "injected_start": 0.0, "injected_end": 1}, "in set.jsonl, line 3"),
        ("[" * 100_000, "expected JSON in set.jsonl, line 3"),
        ("nope", "expected JSON in set.jsonl, line 3"),
    ],
)
def test_a_bad_row_is_named(write, row, message) -> None:
    with pytest.raises(RecordError, match=message):
        load_pairs([write([*GOOD, row])])


def test_ten_megabytes_in_one_line_are_named(write) -> None:
    with pytest.raises(
        RecordError, match=r"at most 1,000,000 characters of data in set.jsonl, line 3, found 10,000,000"
    ):
        load_pairs([write([*GOOD, {"data": "x" * 10**7, "label": 0}])])
    assert len(load_pairs([write([*GOOD, {"data": "x" * MOST_CHARACTERS, "label": 0}])])) == 3


def test_an_empty_file_is_named_beside_full_ones(write) -> None:
    with pytest.raises(RecordError, match=r"expected rows of labelled pairs in .*none.jsonl, found none"):
        load_pairs([write(GOOD), write(["", " "], "none.jsonl")])


def test_one_class_only_names_label_and_files(write) -> None:
    with pytest.raises(RecordError, match=r"found 2 rows, all with label 1, in a.jsonl, b.jsonl"):
        load_pairs([write(GOOD[1:], "a.jsonl"), write(GOOD[1:], "b.jsonl")])
    with pytest.raises(RecordError, match="found no row in"):
        load_pairs([])


def test_one_class_is_taken_where_it_may_be_missing(write) -> None:
    assert [pair.label for pair in load_pairs([write(GOOD[1:])], both=False)] == [1]
    with pytest.raises(RecordError, match="found none"):
        load_pairs([write([])], both=False)


def test_a_file_named_twice_is_refused(write) -> None:
    path = write(GOOD)
    with pytest.raises(RecordError, match=r"expected different files, found .*set.jsonl twice"):
        load_pairs([path, write(GOOD, "other.jsonl"), path])


def test_the_injection_of_a_benign_row_is_none(write) -> None:
    row = {"data": "a", "label": 0, "injected_start": None, "injected_end": None}
    assert load_pairs([write([*GOOD, row])])[2].injected is None
