import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.citation.units import facts_of
from heed.errors import HeedError, InputError
from heed.integrations.conversation import Turn, conversation, split_prompt
from heed.text.span import CharSpan

FACTS = ["Ada lives in Rome.", "Bob lives in Paris."]
ASKED = "Who lives in Paris?"


def turns(*texts, roles=("system", "user", "assistant")):
    return [Turn(role, text) for role, text in zip(roles, texts, strict=True)]


def test_a_prompt_is_cut_before_its_last_paragraph():
    found = conversation(turns("Be brief.", "\n".join(FACTS) + "\n\n" + ASKED, "Bob."))
    assert (found.context, found.question, found.response) == ("\n".join(FACTS), ASKED, "Bob.")
    assert found.place(CharSpan(19, 38)) == (1, CharSpan(19, 38))


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        (f"A b.\n\n{ASKED}", ("A b.", ASKED)),
        (f"A b.\n\n{ASKED}\n\nAnswer:", ("A b.", ASKED)),
        (f"A b.\n\n{ASKED}\nA:", ("A b.", ASKED)),
        (f"A b.\nQuestion: {ASKED}\nAnswer: ", ("A b.", f"Question: {ASKED}")),
        (ASKED, ("", ASKED)),
    ],
)
def test_a_cue_at_the_end_is_no_question(prompt, parts):
    assert split_prompt(prompt) == parts


def test_what_tools_and_earlier_turns_said_is_context_and_what_the_model_said_is_not():
    roles = ("user", "assistant", "user", "assistant", "tool", "assistant")
    found = conversation(turns("The mail.", "Yes?", f"More.\n\n{ASKED}", "", FACTS[1], "Bob.", roles=roles))
    assert found.context == f"The mail.\n\nMore.\n\n{FACTS[1]}"
    assert found.place(CharSpan(18, 22)) == (4, CharSpan(0, 4))
    assert "Yes?" not in found.context


def test_named_contexts_are_found_to_the_letter():
    user = f"Read this. {' '.join(FACTS)} {ASKED}"
    found = conversation(turns("s", user, "Bob."), context=FACTS)
    assert found.units == (CharSpan(0, 18), CharSpan(19, 38))
    assert (found.context, found.question) == (" ".join(FACTS), ASKED)
    assert found.place(found.units[1]) == (1, CharSpan(30, 49))
    whole = conversation(turns("s", user, "Bob."), context=" ".join(FACTS), question="Who?")
    assert (whole.units, whole.question) == (None, "Who?")


def test_a_context_in_a_tools_turn_leaves_the_question_whole():
    found = conversation(
        turns(ASKED, "", FACTS[1], "Bob.", roles=("user", "assistant", "tool", "assistant")), context=FACTS[1]
    )
    assert (found.question, found.place(CharSpan(0, 3))) == (ASKED, (2, CharSpan(0, 3)))


@pytest.mark.parametrize(
    ("told", "more", "said"),
    [
        ([], {}, "ends with the assistant"),
        (turns("s", "u", " "), {}, "ends with the assistant"),
        (turns("s", "a", roles=("system", "assistant")), {}, "question of the user"),
        (turns("s", ASKED, "Bob."), {}, "found the question alone"),
        (turns("s", ASKED, "Bob."), {"context": "Elsewhere."}, "no 'Elsewhere.'"),
        (turns("s", ASKED, "Bob."), {"context": ["Who", 3]}, "list of texts"),
        (turns("s", ASKED, "Bob."), {"context": []}, "list of texts"),
        (turns("s", "Ada. Eve. Bob.\n\nWho?", "Bob."), {"context": ["Ada.", "Bob."]}, "add up"),
    ],
)
def test_what_cannot_be_taken_apart_says_why(told, more, said):
    with pytest.raises(InputError, match=said):
        conversation(told, **more)


@given(st.lists(st.tuples(st.sampled_from(["user", "tool", "assistant", "system"]), st.text(max_size=40)), max_size=6))
def test_every_place_holds_the_text_it_stands_for(said):
    told = [Turn(role, text) for role, text in said]
    try:
        found = conversation([*told, Turn("assistant", "So it is.")])
        units = facts_of(found.context)
    except HeedError:
        return
    for span in units:
        number, own = found.place(span)
        assert told[number].text[own.slice()] == found.context[span.slice()]
        assert told[number].role in ("user", "tool")
