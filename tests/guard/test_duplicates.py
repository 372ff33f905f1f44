"""Rows that occur more than once: counted by pair of sets, whatever the white space around them."""

from dataclasses import replace

from heed.guard.data import LabelledPair
from heed.guard.duplicates import duplicates


def test_duplicates_within_and_between_sets_are_found() -> None:
    one = LabelledPair("a", "Do.", "some words", 0, "one")
    rows = [
        one,
        replace(one, id="again", data=f"  {one.data}\n"),
        replace(one, id="there", group="two", label=1),
        replace(one, id="alien", group="two", instruction=None),
        replace(one, id="other", group="two", data="other words", label=1),
    ]
    found = {d.sets: d for d in duplicates(rows)}
    assert set(found) == {("one", "one"), ("one", "two")}
    assert found["one", "two"].texts == 1
    assert found["one", "two"].contradictory == 1
    assert found["one", "one"].example == ("a", "again")
    assert found["one", "one"].contradictory == 0
    assert "labelled both 0 and 1" in found["one", "two"].says()


def test_rows_that_differ_are_no_duplicates() -> None:
    assert duplicates([]) == ()
    assert duplicates([LabelledPair(str(n), None, f"text {n}", n % 2, "one") for n in range(63)]) == ()
