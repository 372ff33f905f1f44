import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import BlockedError, InputError
from heed.guard import Guard
from heed.integrations.screen import Screen
from heed.model import load
from integrations.scripted import ATTACK, CLEAN, NOTICE, TOO_LONG, ScriptedGuard
from tiny import tiny_folder, tiny_profile


def test_what_is_fine_passes_as_it_is(options, told):
    assert Screen(**options).text(CLEAN).or_raise().text == CLEAN
    assert told == [("ok", "allow")]


@pytest.mark.parametrize(
    ("text", "policy", "outcome"),
    [
        (f"{CLEAN} {ATTACK}", "block", ("block", NOTICE)),
        (f"{CLEAN} {ATTACK}", "replace", ("replace", NOTICE)),
        (f"{CLEAN} {ATTACK}", "sanitize", ("sanitize", CLEAN)),
        (ATTACK, "sanitize", ("replace", NOTICE)),
        ("TOO LONG", "block", ("block", TOO_LONG)),
        ("TOO LONG", "replace", ("replace", TOO_LONG)),
        ("TOO LONG", "sanitize", ("replace", TOO_LONG)),
        (" \n", "block", ("allow", " \n")),
    ],
)  # fmt: skip
def test_what_may_not_pass_is_treated_by_policy(options, told, text, policy, outcome):
    screened = Screen(**options, policy=policy).text(text)
    assert (screened.enforced, screened.text) == outcome
    assert told == [(screened.verdict.status, outcome[0])]


@given(st.text(), st.sampled_from(["block", "replace", "sanitize"]))
def test_nothing_flagged_or_unjudged_passes_and_no_notice_quotes_it(text, policy):
    for mark in (ATTACK, "TOO LONG"):
        screened = Screen(ScriptedGuard(), policy=policy).text(f"{text}{mark}")
        assert mark not in screened.text
        if screened.enforced == "block":
            with pytest.raises(BlockedError) as raised:
                screened.or_raise()
            assert mark not in str(raised.value)


def test_the_screens_own_instruction_comes_first_and_blank_ones_are_none(options, guard):
    Screen(**options, instruction="Own.").text(CLEAN, instruction="Given.")
    Screen(**options).text(CLEAN, instruction="Given.")
    Screen(**options).text(CLEAN, instruction=" ")
    assert [instruction for instruction, _ in guard.asked] == ["Own.", "Given.", None]


def test_what_is_no_text_is_abstained_from(options, told):
    assert Screen(**options).unreadable("an image").text.endswith("could not be judged (not_text)]")
    with pytest.raises(BlockedError, match="not_text"):
        Screen(**options).blocking().unreadable("an image").or_raise()
    assert told == [("not_text", "replace"), ("not_text", "block")]


def test_an_unknown_policy_is_refused(guard):
    with pytest.raises(InputError, match="expected one of block, replace, sanitize as policy, found 'warn'"):
        Screen(guard, policy="warn")


@pytest.mark.parametrize(("policy", "enforced"), [("block", "block"), ("replace", "replace"), ("sanitize", "replace")])
def test_a_real_guard_is_understood(tmp_path, policy, enforced):
    """At threshold 0 everything is flagged, what sanitizing leaves as well."""
    model = load(tiny_folder(tmp_path / "tiny"), dtype="float32")
    profile = tiny_profile(tmp_path / "profile.json")
    strict, lax = (Guard(model, profile=profile, threshold=threshold) for threshold in (0.0, 1.0))
    assert Screen(strict, policy=policy).text("Hello. Say yes.", instruction="Greet.").enforced == enforced
    assert Screen(lax, policy=policy).text("Hello. Say yes.", instruction="Greet.").text == "Hello. Say yes."
