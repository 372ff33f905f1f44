import asyncio

import pytest

from heed.integrations.screen import Screen
from integrations.recorded import installed
from integrations.scripted import ATTACK, CLEAN, NOTICE


@pytest.fixture
def nemo(adapter):
    return adapter("nemo")


def check(nemo, options, *words, policy="block"):
    return asyncio.run(nemo.check_action(Screen(**options, policy=policy), "Be kind.")(*words))


def test_the_outcome_says_the_verdict_and_nothing_of_the_text(nemo, options, guard):
    allowed, blocked, abstained = (check(nemo, options, text) for text in (CLEAN, ATTACK, "TOO LONG"))
    assert [one.is_blocked for one in (allowed, blocked, abstained)] == [False, True, True]
    assert (blocked.reason, blocked.metadata) == ("ok", {"status": "ok", "score": 0.9, "threshold": 0.5})
    assert (abstained.reason, abstained.metadata["score"]) == ("too_long", None)
    assert {instruction for instruction, _ in guard.asked} == {"Be kind."}


def test_no_text_is_nothing_to_judge(nemo, options):
    assert not check(nemo, options, None).is_blocked


@pytest.mark.parametrize(("policy", "passed"), [("replace", NOTICE), ("sanitize", CLEAN)])
def test_a_variable_that_can_be_rewritten_is_others_are_blocked(nemo, options, told, policy, passed):
    outcome = check(nemo, options, f"{CLEAN} {ATTACK}", "relevant_chunks", policy=policy)
    assert outcome.is_transform
    assert outcome.transform_text == {"relevant_chunks": passed}
    for target in (None, "tool_message"):
        assert check(nemo, options, ATTACK, target, policy=policy).is_blocked
    assert told == [("ok", policy), ("ok", "block"), ("ok", "block")]


def test_the_action_is_named(nemo, options):
    assert nemo.check_action(Screen(**options)).action_meta["name"] == "heed_check"


@pytest.mark.skipif(not installed("nemo"), reason="nemoguardrails is not installed")
@pytest.mark.filterwarnings("default")  # theirs
@pytest.mark.parametrize("text", [CLEAN, ATTACK, "TOO LONG"])
def test_rails_stop_what_may_not_pass(nemo, options, guard, text):
    from nemoguardrails import LLMRails, RailsConfig

    colang = nemo.COLANG + '\ndefine user ask\n  "x"\n'
    general = {"type": "general", "content": "Be kind."}
    config = {"models": [], "rails": {"input": {"flows": ["heed check input"]}}, "instructions": [general]}
    rails = LLMRails(RailsConfig.from_content(colang_content=colang, config=config))
    nemo.register(rails, guard)
    messages = [{"role": "user", "content": text}]
    answer = rails.generate(messages=messages, options={"rails": ["input"]}).response
    assert guard.asked == [("Be kind.", text)]
    assert ("can't respond" in str(answer)) == (text != CLEAN)
