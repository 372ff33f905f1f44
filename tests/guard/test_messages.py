"""Conversations judged part by part: places, instructions, trust, shapes; with a guard that needs no model."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import heed
from fake_guard import FakeGuard
from heed.errors import AbstainedError, InputError
from heed.guard import Guard
from heed.guard.messages import MessagesVerdict, check_messages
from heed.model import load
from tiny import tiny_folder, tiny_profile

CALL = {"id": "c1", "type": "function", "function": {"name": "read_mail", "arguments": '{"box": "BAD inbox"}'}}
OPENAI = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Sum up my mail."}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": '{"mails": [{"body": "Hi. BAD thing."}, {"body": "Fine."}]}'},
    {"role": "tool", "tool_call_id": "c2", "name": "clock", "content": "12:30"},
    {"role": "assistant", "content": "Ann says hi."},
    {"role": "user", "content": "And the news?"},
    {"role": "tool", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "BAD two."}]},
]
ANTHROPIC = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Sum up."},
            {
                "type": "document",
                "title": "Report",
                "context": "From Ann.",
                "source": {"type": "text", "media_type": "text/plain", "data": "BAD report."},
            },
            {"type": "image", "source": {"type": "base64", "data": "AA=="}},
            {"type": "text", "text": "In French."},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Let me see.", "signature": "x"},
            {"type": "tool_use", "id": "t1", "name": "search", "input": {"q": "é BAD"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [{"type": "text", "text": "Found."}, {"type": "image", "source": {}}],
            },
            {"type": "tool_result", "tool_use_id": "t1", "content": "BAD again.", "is_error": True},
            {"type": "tool_result", "tool_use_id": "t1"},
            {"type": "text", "text": "Go on."},
        ],
    },
]


def check(messages, guard=None, **how) -> MessagesVerdict:
    return check_messages(guard or FakeGuard(), messages, **how)


def test_tool_outputs_are_judged_one_by_one_with_their_place():
    found = check(OPENAI)
    places = [(p.place.message, p.place.part, p.place.role, p.place.name, p.place.tool_call_id) for p in found.parts]
    assert places == [
        (3, None, "tool", "read_mail", "c1"),
        (4, None, "tool", "clock", "c2"),
        (7, 0, "tool", None, None),
        (7, 1, "tool", None, None),
    ]
    assert [p.place.path for p in found.parts] == [
        "$[3].content", "$[4].content", "$[7].content[0].text", "$[7].content[1].text",
    ]  # fmt: skip
    assert [p.flagged for p in found.parts] == [True, False, False, True]
    assert (found.flagged, bool(found), found.allow, found.messages) == (True, True, False, 8)
    assert "2 of 4 untrusted texts flagged, 0 abstained from; $[3].content:" in found.reason


def test_offsets_count_in_the_raw_string_and_name_its_json_field():
    part = check(OPENAI).parts[0]
    assert part.text is OPENAI[3]["content"]
    (span,) = part.verdict.spans
    assert "BAD thing." in part.text[span.start : span.end]
    assert part.fields(part.verdict.spans)[0][-1] == "$.mails[1].body"
    assert part.record()["spans"][0]["fields"][0] == "$.mails[0].body"
    assert check(OPENAI).parts[3].fields(check(OPENAI).parts[3].verdict.spans) == ((),)


def test_the_instruction_is_the_system_message_and_the_last_request():
    assert [p.verdict.instruction for p in check(OPENAI).parts] == [
        "Be brief.\n\nSum up my mail.",
        "Be brief.\n\nSum up my mail.",
        "Be brief.\n\nAnd the news?",
        "Be brief.\n\nAnd the news?",
    ]


def test_an_untrusted_users_words_are_no_instruction():
    guard = FakeGuard()
    found = check(OPENAI, guard, untrusted=["user", "tool", "assistant", "tool_calls"])
    assert {pair[0] for pair in guard.batches[0]} == {"Be brief."}
    assert [p.place.kind for p in found.parts] == [
        "text", "tool_call", "tool_result", "tool_result", "text", "text", "tool_result", "tool_result",
    ]  # fmt: skip
    call = found.parts[1]
    assert (call.place.path, call.place.part) == ("$[2].tool_calls[0].function.arguments", 0)
    assert (call.place.name, call.place.tool_call_id) == ("read_mail", "c1")
    assert call.text == CALL["function"]["arguments"]
    assert call.fields(call.verdict.spans) == (("$.box",),)


def test_without_anything_trusted_the_neutral_instruction_stands_in():
    guard = FakeGuard()
    check([{"role": "tool", "content": "x"}, {"role": "system", "content": "Late."}], guard)
    assert guard.batches == [[(None, "x")]]


def test_the_verdicts_stay_when_the_conversation_goes_on():
    whole, begun = check(OPENAI), check(OPENAI[:5])
    for early, late in zip(begun.parts, whole.parts, strict=False):
        assert (early.place, early.verdict.instruction) == (late.place, late.verdict.instruction)


def test_the_shapes_of_anthropic():
    found = check(ANTHROPIC)
    assert [(p.place.path, p.place.role, p.place.kind, p.place.name, p.verdict.status) for p in found.parts] == [
        ("$[1].content[1].title", "user", "document", "Report", "ok"),
        ("$[1].content[1].context", "user", "document", "Report", "ok"),
        ("$[1].content[1].source.data", "user", "document", "Report", "ok"),
        ("$[3].content[0].content[0].text", "tool", "tool_result", "search", "ok"),
        ("$[3].content[0].content[1]", "tool", "tool_result", "search", "not_text"),
        ("$[3].content[1].content", "tool", "tool_result", "search", "ok"),
    ]
    assert [p.place.part for p in found.parts] == [1, 1, 1, 0, 0, 1]
    assert {p.verdict.instruction for p in found.parts} == {"Be brief.\n\nSum up.\n\nIn French."}
    calls = check(ANTHROPIC, untrusted=["tool_calls"]).parts
    assert [p.text for p in calls if p.place.kind == "tool_call"] == ['{"q": "é BAD"}']


def test_what_is_no_text_is_abstained_from_and_never_fine():
    document = {"type": "document", "source": {"type": "base64", "data": "AA=="}}
    found = check([{"role": "user", "content": [{"type": "text", "text": "Read."}, document]}])
    assert (found.flagged, found.allow, found.parts[0].verdict.status) == (None, False, "not_text")
    assert "found 'document'" in found.reason
    with pytest.raises(AbstainedError, match="abstained"):
        bool(found)
    with pytest.raises(AbstainedError):
        bool(found.parts[0])
    flagged = check([{"role": "user", "content": [document]}, {"role": "tool", "content": "BAD"}])
    assert (flagged.flagged, flagged.allow) == (True, False)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "document", "text": "BAD"},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "BAD"}]}},
        {"type": "document", "source": {"type": "content", "content": "BAD"}},
        {"type": "search_result", "source": "https://a.example", "content": [{"type": "text", "text": "BAD"}]},
    ],
)
def test_documents_are_untrusted_wherever_they_stand(document):
    for message in (
        {"role": "user", "content": [document]},
        {"role": "system", "content": [document]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [document]}]},
    ):
        (part,) = check([message], untrusted=()).parts
        assert (part.text, part.flagged, part.place.kind) == ("BAD", True, "document")


def test_blank_texts_are_no_parts_and_nothing_untrusted_is_fine():
    found = check([{"role": "user", "content": "Hi"}, {"role": "tool", "content": " \n"}])
    assert (found.parts, found.flagged, found.allow, bool(found)) == ((), False, True, False)
    assert found.reason == "no untrusted text in 2 messages"


def test_all_texts_are_judged_in_one_batch():
    guard = FakeGuard()
    check(OPENAI, guard)
    assert len(guard.batches) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("hello", "expected a dict as message 1, found str"),
        ({"content": "x"}, "expected a role among .* in message 1, found None"),
        ({"role": "robot", "content": "x"}, "in message 1, found 'robot'"),
        ({"role": ["user"], "content": "x"}, "in message 1, found"),
        ({"role": "user"}, "expected content as a string or a list of parts in message 1, found None"),
        ({"role": "tool", "content": 3}, "in message 1, found 3"),
        ({"role": "tool", "content": {"type": "text"}}, "in message 1, found"),
        ({"role": "tool", "content": [3]}, "expected a dict with a 'type' as part 0 of message 1, found 3"),
        ({"role": "tool", "content": [{"type": "text"}]}, "'text' as a string in part 0 of message 1, found NoneType"),
        ({"role": "tool", "content": [{"type": "hologram"}]}, "as part 0 of message 1, found 'hologram'"),
        ({"role": "tool", "content": [{"type": "tool_result", "content": "x"}]}, "part 0 of message 1"),
        ({"role": "tool", "name": 3, "content": "x"}, "'name' as a string in message 1, found int"),
        ({"role": "user", "content": [{"type": "tool_result", "content": 3}]}, "in part 0 of message 1, found 3"),
        ({"role": "user", "content": [{"type": "document", "text": 3}]}, "in part 0 of message 1, found int"),
        ({"role": "assistant", "tool_calls": {}}, "a list as tool_calls in message 1, found dict"),
        ({"role": "assistant", "tool_calls": ["x"]}, "as tool call 0 of message 1, found 'x'"),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, "tool call 0 of message 1"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "expected JSON as arguments of tool call 0 of message 1",
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"a": {1}}}]},
            "expected JSON as arguments of part 0 of message 1",
        ),
        ({"role": "assistant", "function_call": "f"}, "a dict as function_call in message 1, found str"),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": 3}}, "the function call of message 1"),
    ],
)
def test_a_malformed_message_is_named(bad, message):
    with pytest.raises(InputError, match=message):
        check([{"role": "user", "content": "Hi"}, bad])


@pytest.mark.parametrize("messages", [[], {"role": "user", "content": "x"}, "hello", None, 3])
def test_what_is_no_conversation_is_refused(messages):
    with pytest.raises(InputError, match=r"expected (a list of messages|at least one message), found"):
        check(messages)


@pytest.mark.parametrize("untrusted", ["tool", ("system",), ("tools",)])
def test_an_unknown_source_is_refused(untrusted):
    with pytest.raises(InputError, match="expected a collection of user, assistant, tool, tool_calls as untrusted"):
        check(OPENAI, untrusted=untrusted)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["text", "document", "tool_result", "tool"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "type", "text", "content", "source", "tool_calls"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.lists(
        st.fixed_dictionaries({"role": st.sampled_from(["user", "tool", "assistant"]), "content": JSON}), min_size=1
    )
)
def test_any_conversation_is_judged_or_refused_with_its_place(messages):
    before = copy.deepcopy(messages)
    try:
        found = check(messages, untrusted=("user", "assistant", "tool", "tool_calls"))
    except InputError as error:
        found, refusal = None, str(error)
    assert messages == before
    if found is None:
        assert "message " in refusal
        return
    assert json.dumps(found.record())
    for part in found.parts:
        assert part.verdict.status == "not_text" or part.text == at(messages, part.place.path)


def at(messages, path: str):
    """The value at a path of names and numbers."""
    value = messages
    for step in path[1:].replace("[", ".").replace("]", "").strip(".").split("."):
        value = value[int(step)] if step.isdigit() else value[step]
    return value


def test_a_guard_judges_messages_and_the_verdict_can_be_shown(tmp_path):
    model = load(tiny_folder(tmp_path / "tiny"), dtype="float32")
    guard = Guard(model, profile=tiny_profile(tmp_path / "profile.json"), threshold=0.0)
    found = guard.check_messages(OPENAI)
    assert isinstance(found, heed.MessagesVerdict)
    assert [part.flagged for part in found.parts] == [True] * 4
    assert all(0 <= s.start < s.end <= len(p.text) for p in found.parts for s in p.verdict.spans)
    assert guard.check("Be brief.\n\nSum up my mail.", "12:30").score == pytest.approx(found.parts[1].verdict.score)
    drawn = heed.show(found).text()
    assert "ALERT: Injection suspected" in drawn
    assert "$[4].content tool_result clock: flagged" in drawn
