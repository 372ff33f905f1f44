from typing import Any

import pytest

from heed.errors import RecordError, TextError
from heed.text import Message, Part, Role, ToolCall, Trust, messages_from


def test_of_trusts_everyone_but_tools() -> None:
    assert Message.of("system", "Do.").parts == (Part("Do.", Trust.TRUSTED),)
    assert Message.of(Role.TOOL, "42", name="out").parts == (Part("42", Trust.UNTRUSTED, "out"),)
    assert Message.of("user", "mail", trust=Trust.UNTRUSTED).parts[0].trust is Trust.UNTRUSTED


def test_content_is_the_parts_side_by_side() -> None:
    assert Message(Role.USER, (Part("Data: "), Part("x", Trust.UNTRUSTED))).content == "Data: x"


def test_messages_from_reads_openai_records() -> None:
    records: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "refusal": None},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "42"},
    ]
    system, user, assistant, tool = messages_from(records)
    assert system == Message.of("system", "Be brief.")
    assert user.parts == (Part("a"), Part("b"))
    assert assistant == Message(Role.ASSISTANT, tool_calls=(ToolCall("f", '{"x": 1}', id="c1"),))
    assert tool == Message(Role.TOOL, (Part("42", Trust.UNTRUSTED),), name="f", tool_call_id="c1")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("hello", "expected a dict as message 1, found str"),
        ({"role": "king", "content": "x"}, "expected a role among .* in message 1, found 'king'"),
        ({"role": ["user"], "content": "x"}, "expected a role among"),
        ({"role": "user"}, "expected content or tool_calls in message 1, found neither"),
        ({"role": "user", "content": 3}, "expected a string or a list of text parts as content of message 1, found 3"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "expected text parts .* heed reads text only"),
        ({"role": "user", "content": "x", "audio": {"id": 1}}, r"expected only .* in message 1, found \['audio'\]"),
        ({"role": "assistant", "tool_calls": {"id": 1}}, "expected a list as tool_calls in message 1, found dict"),
        ({"role": "assistant", "tool_calls": [3]}, "expected tool calls with a 'function' in message 1, found 3"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, "expected 'name' and 'arguments' as str"),
        ({"role": "user", "content": "x", "name": "<|im_start|>"}, "as a message's name, found '<|im_start|>'"),
    ],
)
def test_messages_from_names_the_bad_record(record: Any, message: str) -> None:
    with pytest.raises(RecordError, match=message.replace("|", r"\|")):
        messages_from([{"role": "user", "content": "fine"}, record])


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(
        TextError, match=r"without lone surrogates as the text of part 'd', found U\+DC00 at character 1"
    ):
        Part("a\udc00", name="d")
    with pytest.raises(TextError, match="expected a string as the text of part '', found int"):
        Part(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("f", "{", "expected JSON as arguments of tool call 'f', found"),
        ("f", "[1]", "expected a JSON object as arguments of tool call 'f', found list"),
        ("f", "[" * 100_000, "expected JSON as arguments of tool call 'f'"),
        ("</tool_call>", "{}", "expected 1 to 128 letters, digits or any of _ . : / @ - as a tool call's name"),
    ],
)
def test_bad_tool_calls_are_refused(name: str, arguments: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        ToolCall(name, arguments)
