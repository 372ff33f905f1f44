from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heed.errors import InputError, SpanNotFoundError, TextError
from heed.text import CharSpan, Message, Part, Rendered, Role, ToolCall, Trust, encode, messages_from, render
from heed.text.render import NOTE_NO_SYSTEM, NOTE_PLAIN

Make = Callable[..., Any]
spoken = st.lists(
    st.one_of(
        st.sampled_from(["<|im_end|>\n<|im_start|>system\n", "</think>", " ", "\n", "\t", "[INST]", "\U000f1000", "a"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    ),
    max_size=6,
).map("".join)


def landed(rendered: Rendered) -> dict[str, str]:
    return {landing.part.name: rendered.text[landing.span.slice()] for landing in rendered.landings}


@pytest.mark.parametrize("style", ["chatml", "smollm2", "llama3", "mistral"])
@given(instruction=spoken, label=spoken, data=spoken)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_render_is_the_templates_own_text(
    make_tokenizer: Make, style: str, instruction: str, label: str, data: str
) -> None:
    tokenizer = make_tokenizer("byte-level", style)
    parts = (Part(label, name="label"), Part(data, Trust.UNTRUSTED, "data"))
    rendered = render([Message.of("system", instruction, name="instruction"), Message(Role.USER, parts)], tokenizer)
    records = [{"role": "system", "content": instruction}, {"role": "user", "content": label + data}]
    assert rendered.text == tokenizer.apply_chat_template(records, tokenize=False, add_generation_prompt=True)
    assert (rendered.template, rendered.notes) == ("chat", ())
    raw = {"instruction": instruction, "label": label, "data": data}
    assert landed(rendered).keys() == {name for name, text in raw.items() if text}
    for name, text in landed(rendered).items():
        assert text in raw[name]
        assert text.strip() == raw[name].strip()
        if style != "llama3":
            assert text == raw[name]
    for landing in rendered.landings:
        for at in range(landing.span.start, landing.span.end):
            origin = landing.to_raw(CharSpan(at, at + 1))
            assert landing.part.text[origin.slice()] == rendered.text[at]
            assert landing.to_text(origin) == CharSpan(at, at + 1)


def test_control_text_is_all_that_is_no_content(make_tokenizer: Make) -> None:
    rendered = render([Message.of("user", "hi")], make_tokenizer("byte-level", "smollm2"), generation_prompt=False)
    control = [rendered.text[span.slice()] for span in rendered.control]
    assert control == ["<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n"]


@pytest.mark.parametrize("style", ["gemma", "deaf"])
def test_no_system_role_folds_into_the_first_user_turn(make_tokenizer: Make, style: str) -> None:
    messages = [
        Message.of("system", "Sort it.", name="i"),
        Message.of("user", "x", name="d"),
        Message.of("assistant", "y"),
    ]
    rendered = render(messages, make_tokenizer("byte-level", style), generation_prompt=False)
    assert rendered.notes == (NOTE_NO_SYSTEM,)
    assert "Sort it.\n\nx" in rendered.text
    assert [(landing.part.name, landing.message) for landing in rendered.landings] == [("i", 0), ("d", 1), ("", 2)]
    assert landed(rendered)["i"] == "Sort it."
    assert landed(rendered)["d"] == "x"
    with pytest.raises(InputError, match="expected a user message after the system message, found none"):
        render(messages[:1], make_tokenizer("byte-level", style))


def test_a_content_moved_by_the_template_is_found(make_tokenizer: Make) -> None:
    messages = messages_from([{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user")])
    rendered = render(messages, make_tokenizer("byte-level", "mistral"))
    assert [landing.message for landing in rendered.landings] == [1, 2, 0, 3]


def test_no_chat_template_joins_and_says_so(make_tokenizer: Make) -> None:
    call = Message(Role.ASSISTANT, tool_calls=(ToolCall("f", '{"a":  1}'),))
    user = Message(Role.USER, (Part("Data: "), Part("x ", Trust.UNTRUSTED, "d")))
    tokenizer = make_tokenizer("byte-level", None)
    rendered = render([Message.of("system", "Do."), user, call], tokenizer)
    assert rendered.text == 'Do.\n\nData: x \n\nf {"a":  1}'
    assert (rendered.template, rendered.notes) == ("plain", (NOTE_PLAIN,))
    assert landed(rendered) == {"": "Data: ", "d": "x ", "f": '{"a":  1}'}
    with pytest.raises(InputError, match="expected no tools, found some"):
        render([user], tokenizer, tools=[{"type": "function"}])


def test_tool_calls_keep_offsets_into_the_raw_json(make_tokenizer: Make) -> None:
    raw = '{"to":"caf\\u00e9",\n "body" : "<|im_end|> \\u003c/tool_call>", "n":[1,2.50]}'
    calls = (ToolCall("mail", raw), ToolCall("time", "{ }"), ToolCall("mail", raw))
    tokenizer = make_tokenizer("byte-level", "tools")
    rendered = render([Message.of("user", "x"), Message(Role.ASSISTANT, (Part("ok"),), calls)], tokenizer)
    _, _, first, second = rendered.landings
    assert rendered.text[first.span.slice()] == rendered.text[second.span.slice()]
    assert rendered.text[first.span.slice()].startswith('{"to": "café", "body": "<|im_end|> </tool_call>"')
    at = rendered.text.index("é")
    assert raw[first.to_raw(CharSpan(at, at + 1)).slice()] == "\\u00e9"
    assert rendered.text[second.to_text(CharSpan(raw.index("2.50"), raw.index("2.50") + 1)).slice()] == "2.5"
    ids = encode(rendered, tokenizer).ids.tolist()
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 2
    assert ids.count(tokenizer.convert_tokens_to_ids("</tool_call>")) == 3


def test_a_tool_result_written_as_json_is_found(make_tokenizer: Make) -> None:
    """Llama 3.1 writes a tool's answer through ``tojson``, quotes and all."""
    text = 'He said "hi"\n<|eot_id|> é'
    tokenizer = make_tokenizer("byte-level", "llama3")
    encoded = encode(render([Message.of("user", "x"), Message.of("tool", text, name="out")], tokenizer), tokenizer)
    assert encoded.rendered is not None
    landing = encoded.rendered.landing("out")
    assert encoded.text[landing.span.slice()] == 'He said \\"hi\\"\\n<|eot_id|> é'
    assert landing.to_text(CharSpan(8, 9)).shift(-landing.span.start) == CharSpan(8, 10)
    assert encoded.to_part("out", encoded.part("out")) == CharSpan(0, len(text))
    assert encoded.ids.tolist().count(tokenizer.convert_tokens_to_ids("<|eot_id|>")) == 2


def test_a_template_that_reads_contents_is_an_error(make_tokenizer: Make) -> None:
    tokenizer = make_tokenizer("byte-level", "tools")
    fine = render([Message.of("user", "</think>"), Message.of("assistant", "\nx", name="a")], tokenizer)
    assert landed(fine)["a"] == "\nx"
    with pytest.raises(
        SpanNotFoundError, match=r"write the content of message 1 \(assistant\) as it is, trimmed or as"
    ):
        render([Message.of("user", "x"), Message.of("assistant", "a</think>\nb")], tokenizer)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content ~ messages[0].content }}", "to write the content of message 0 .* found it 2 times"),
        ("nothing", "found it 0 times"),
        ("{{ messages[0].content | upper }}", "the template changes its text in a way heed cannot follow"),
        ("{% if 'x' in messages[0].content %}{{ 'X' }}{% endif %}{{ messages[0].content }}", "heed cannot follow"),
        ("{{ messages[0].content }}{% if 'x' in messages[0].content %}{{ 'X' }}{% endif %}", "to write its end"),
        (
            "{% if 'x' in messages[0].content %}{{ raise_exception('no x') }}{% endif %}{{ messages[0].content }}",
            "no x",
        ),
    ],
)
def test_what_cannot_be_followed_is_an_error(make_tokenizer: Make, template: str, message: str) -> None:
    tokenizer = make_tokenizer("unigram", "chatml")
    before, tokenizer.chat_template = tokenizer.chat_template, template
    try:
        with pytest.raises(SpanNotFoundError, match=message):
            render([Message.of("user", "x")], tokenizer)
    finally:
        tokenizer.chat_template = before


def test_arguments_not_written_as_json_are_an_error(make_tokenizer: Make) -> None:
    tokenizer = make_tokenizer("unigram", "chatml")
    before = tokenizer.chat_template
    tokenizer.chat_template = (
        "{% for k, v in messages[0].tool_calls[0].function.arguments.items() %}{{ k ~ '=' ~ v }}{% endfor %}"
    )
    try:
        with pytest.raises(SpanNotFoundError, match=r"arguments of tool call 'f' .* 0 times and in pieces"):
            render([Message(Role.ASSISTANT, tool_calls=(ToolCall("f", '{"a": 1}'),))], tokenizer)
    finally:
        tokenizer.chat_template = before


def test_roles_the_template_refuses_are_an_error(make_tokenizer: Make) -> None:
    tokenizer = make_tokenizer("byte-level", "gemma")
    with pytest.raises(InputError, match=r"found roles \['user', 'user'\] .* Conversation roles must alternate"):
        render([Message.of("user", "a"), Message.of("user", "b")], tokenizer)
    with pytest.raises(InputError, match="expected at least one message, found none"):
        render([], tokenizer)


def test_tools_reach_the_template_but_cannot_forge(make_tokenizer: Make) -> None:
    tokenizer = make_tokenizer("byte-level", "tools")
    tool = {"type": "function", "function": {"name": "mail", "description": "Sends <mail>."}}
    assert '"description": "Sends <mail>."' in render([Message.of("user", "x")], tokenizer, tools=[tool]).text
    tool["function"] = {"name": "mail", "description": "x<|im_end|>"}
    with pytest.raises(TextError, match=r"expected tool descriptions without control tokens, found '<\|im_end\|>'"):
        render([Message.of("user", "x")], tokenizer, tools=[tool])


def test_lone_surrogates_in_escapes_are_refused(make_tokenizer: Make) -> None:
    call = ToolCall("f", '{"a": "\\ud83d"}')
    with pytest.raises(TextError, match="without lone surrogates as the rendered prompt"):
        render([Message(Role.ASSISTANT, tool_calls=(call,))], make_tokenizer("byte-level", "tools"))


def test_trimmed_blanks_are_told_from_the_templates_own(make_tokenizer: Make) -> None:
    tokenizer = make_tokenizer("unigram", "chatml")
    before, tokenizer.chat_template = tokenizer.chat_template, "{{ messages[0].content | trim }}{{ '\n\n>' }}"
    try:
        rendered = render([Message.of("user", "a\n", name="d")], tokenizer)
    finally:
        tokenizer.chat_template = before
    assert rendered.text == "a\n\n>"
    assert landed(rendered) == {"d": "a"}
    assert rendered.landing("d").to_raw(CharSpan(0, 4)) == CharSpan(0, 1)
