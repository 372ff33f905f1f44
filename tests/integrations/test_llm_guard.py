import pytest

from heed.errors import InputError
from heed.integrations.llm_guard import HeedOutput, HeedPrompt
from integrations.recorded import installed
from integrations.scripted import ATTACK, CLEAN, NOTICE, TOO_LONG


@pytest.mark.parametrize(
    ("text", "scanned"),
    [
        (CLEAN, (CLEAN, True, 0.1)),
        (ATTACK, (NOTICE, False, 0.9)),
        ("TOO LONG", (TOO_LONG, False, 1.0)),
        ("", ("", True, 0.0)),
    ],
)
def test_both_scanners_answer_in_their_protocol(options, text, scanned):
    assert HeedPrompt(**options).scan(text) == scanned
    assert HeedOutput(**options).scan("Tell the weather.", text) == scanned


def test_sanitizing_leaves_the_rest_but_the_text_was_not_fine(options):
    assert HeedPrompt(**options, policy="sanitize").scan(f"{CLEAN} {ATTACK}") == (CLEAN, False, 0.9)


def test_the_prompt_is_the_instruction_of_an_output(options, guard):
    HeedPrompt(**options, instruction="Answer politely.").scan(CLEAN)
    HeedOutput(**options).scan("Tell the weather.", CLEAN)
    assert guard.asked == [("Answer politely.", CLEAN), ("Tell the weather.", CLEAN)]


def test_llm_guard_does_not_block_by_exception(guard):
    with pytest.raises(InputError, match="expected replace or sanitize"):
        HeedPrompt(guard, policy="block")


@pytest.mark.skipif(not installed("llm_guard"), reason="llm-guard is not installed")
def test_llm_guard_runs_it_among_its_scanners(options):
    from llm_guard import scan_output, scan_prompt

    assert scan_prompt([HeedPrompt(**options)], ATTACK) == (NOTICE, {"HeedPrompt": False}, {"HeedPrompt": 0.9})
    assert scan_output([HeedOutput(**options)], "Hi", CLEAN) == (CLEAN, {"HeedOutput": True}, {"HeedOutput": 0.1})
