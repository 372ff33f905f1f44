"""Cleaning with a guard that needs no model: rounds, bounds, abstention, order."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_guard import FakeGuard
from heed.errors import AbstainedError, InputError
from heed.guard import Guard
from heed.guard.removal import NOTICE
from heed.guard.sanitize import sanitize_many
from heed.model import load
from tiny import tiny_folder, tiny_profile

SENTENCES = st.lists(
    st.sampled_from(["Fine. ", "BAD thing. ", "Émile 😀!\n", "  ", "so BAD\n\n", "WORSE. ", "UNSURE. "])
)


def clean(text: str, guard: FakeGuard | None = None, **how):
    return sanitize_many(guard or FakeGuard(), [("Do.", text)], **how)[0]


@given(SENTENCES.map("".join), st.sampled_from(["remove", "mask"]))
def test_what_holds_for_any_text(text, mode):
    found = clean(text, mode=mode)
    assert found.allow is FakeGuard().judge("Do.", found.text).allow
    assert found.after.data == found.text
    assert found.before.data == text
    at, pieces = 0, []
    for removal in found.removed:
        assert text[removal.span.slice()] == removal.text
        pieces += [text[at : removal.span.start], NOTICE if mode == "mask" else ""]
        at = removal.span.end
    assert "".join([*pieces, text[at:]]) == found.text
    if found.before.flagged is not True:
        assert found.text is text
        assert (found.removed, found.rounds, found.after) == ((), 0, found.before)
    assert ("BAD" in found.text) <= (found.before.flagged is None)


def test_an_injection_is_removed_and_the_rest_is_judged_again():
    found = clean("Hello. BAD thing. Bye.")
    assert (found.text, found.status, found.allow, found.flagged) == ("Hello. Bye.", "cleaned", True, False)
    assert not found
    assert found.before.flagged
    assert [(r.span.start, r.span.end, r.text) for r in found.removed] == [(6, 17, " BAD thing.")]
    assert "11 of 22 characters removed in 1 rounds, clean now" in found.reason


def test_rounds_go_on_until_it_is_clean_or_the_bound_is_reached():
    text = "BAD one. BAD two. BAD three. Fine."
    found = clean(text, FakeGuard(once=True))
    assert (found.status, found.rounds, found.text) == ("cleaned", 3, "Fine.".rjust(6))
    short = clean(text, FakeGuard(once=True), rounds=2)
    assert (short.status, short.rounds, short.text) == ("still_flagged", 2, " BAD three. Fine.")
    assert short.allow is False
    assert bool(short) is True
    assert "still flagged" in short.reason


def test_what_cannot_be_located_stays_flagged():
    guard = FakeGuard()
    found = clean("Hello. WORSE.", guard)
    assert (found.text, found.status, found.allow, found.rounds) == ("Hello. WORSE.", "still_flagged", False, 0)
    assert len(guard.batches) == 1


@pytest.mark.parametrize("text", ["UNSURE and BAD.", "", " \n"])
def test_an_abstention_passes_through(text):
    found = clean(text)
    assert (found.status, found.allow, found.flagged, found.removed) == ("abstained", False, None, ())
    assert found.text == text
    with pytest.raises(AbstainedError):
        bool(found)


def test_an_abstention_after_a_removal_is_not_clean():
    guard = FakeGuard()
    guard.judge = lambda instruction, data, true=guard.judge: true(instruction, data if "BAD" in data else "UNSURE")
    found = clean("Hello. BAD.", guard)
    assert (found.status, found.allow, found.rounds) == ("abstained", False, 1)


def test_nothing_left_is_said_and_not_allowed():
    found = clean("BAD thing.")
    assert (found.text, found.status, found.allow) == ("", "emptied", False)
    assert clean("BAD thing.", mode="mask").status == "cleaned"


def test_many_are_cleaned_in_one_batch_a_round_and_in_order():
    guard = FakeGuard(once=True)
    texts = ["Fine.", "A. BAD.", "UNSURE", "BAD. B. BAD. C.", "WORSE"]
    found = sanitize_many(guard, ((str(i), text) for i, text in enumerate(texts)))
    assert [f.status for f in found] == ["unchanged", "cleaned", "abstained", "cleaned", "still_flagged"]
    assert [f.text for f in found] == ["Fine.", "A. ", "UNSURE", " B. C.", "WORSE"]
    assert [[pair[0] for pair in batch] for batch in guard.batches] == [list("01234"), ["1", "3"], ["3"]]
    assert sanitize_many(guard, []) == []


@pytest.mark.parametrize("mode", ["remove", "mask"])
def test_json_stays_valid(mode):
    raw = json.dumps({"to": "Ann", "body": 'Hi.\nBAD "thing".\nBye \u00e9.', "n": [1, None]}, indent=1)
    found = clean(raw, mode=mode)
    assert found.allow
    value = json.loads(found.text)
    assert value == {"to": "Ann", "body": value["body"], "n": [1, None]}
    assert "BAD" not in found.text
    assert {removal.field for removal in found.removed} <= {"$.to", "$.body"}
    assert json.dumps(found.record())


@pytest.mark.parametrize("how", [{"mode": "delete"}, {"rounds": 0}, {"rounds": True}, {"rounds": 1.5}])
def test_impossible_settings_are_refused(how):
    with pytest.raises(InputError, match=f"found {next(iter(how.values()))!r}"):
        clean("Hello.", **how)


def test_a_guard_cleans(tmp_path):
    model = load(tiny_folder(tmp_path / "tiny"), dtype="float32")
    profile = tiny_profile(tmp_path / "profile.json")
    text = "Hello there.\nThe cat sat."
    assert Guard(model, profile=profile, threshold=1.0).sanitize("Do.", text).text is text
    flagged = Guard(model, profile=profile, threshold=0.0).sanitize("Do.", text, mode="mask", rounds=1)
    assert flagged.allow is False
    with pytest.raises(InputError, match="expected data as a string, found int"):
        Guard(model, profile=profile, threshold=0.0).sanitize_many([("Do.", 3)])
