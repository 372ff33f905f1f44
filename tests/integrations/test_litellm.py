import asyncio
from types import SimpleNamespace

import pytest

from integrations.recorded import installed
from integrations.scripted import ATTACK, CLEAN, NOTICE


@pytest.fixture
def litellm(adapter):
    return adapter("litellm")


def apply(litellm, options, inputs, request=None, kind="request", **settings):
    guardrail = litellm.HeedGuardrail(**options, **settings)
    return asyncio.run(guardrail.apply_guardrail(inputs, request or {}, kind))


def refused(litellm, options, inputs, **more):
    with pytest.raises(litellm._exceptions.GuardrailRaisedException) as raised:
        apply(litellm, options, inputs, **more)
    assert ATTACK not in str(raised.value)
    return str(raised.value)


def called(arguments):
    return {"function": {"name": "send", "arguments": arguments}}


def test_fine_inputs_pass_as_they_are(litellm, options):
    inputs = {"texts": [CLEAN, ""], "tool_calls": [called('{"to": "Ann"}'), called("{}")], "model": "m"}
    assert apply(litellm, options, inputs) == inputs


@pytest.mark.parametrize("text", [ATTACK, "TOO LONG"])
def test_a_flagged_or_unjudged_text_is_refused(litellm, options, text):
    assert "expected a text that may pass" in refused(litellm, options, {"texts": [CLEAN, text]})


@pytest.mark.parametrize(("policy", "passed"), [("replace", NOTICE), ("sanitize", CLEAN)])
def test_texts_are_replaced_by_policy(litellm, options, policy, passed):
    assert apply(litellm, options, {"texts": [f"{CLEAN} {ATTACK}", CLEAN]}, policy=policy)["texts"] == [passed, CLEAN]


@pytest.mark.parametrize(
    "more", [{"kind": "response"}, {"policy": "replace"}, {"policy": "sanitize", "kind": "response"}], ids=str
)
@pytest.mark.parametrize(
    "call",
    [
        called(f'{{"body": "{ATTACK}"}}'),
        called({"body": ATTACK}),
        SimpleNamespace(function=SimpleNamespace(arguments=ATTACK)),
    ],
)
def test_arguments_of_tool_calls_are_refused_under_every_policy(litellm, options, told, more, call):
    refused(litellm, options, {"texts": [], "tool_calls": [call]}, **more)
    assert told == [("ok", "block")]


def test_an_image_beside_a_tools_text_cannot_be_judged(litellm, options):
    assert "not_text" in refused(litellm, options, {"texts": [CLEAN], "images": ["x"]})


def test_of_a_response_only_tool_calls_are_judged(litellm, options, guard):
    inputs = {"texts": [ATTACK], "images": ["x"]}
    assert apply(litellm, options, inputs, kind="response") == inputs
    assert guard.asked == []


@pytest.mark.parametrize(
    ("request_", "instruction"),
    [
        ({}, None),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None),
        ({"system": "Be kind.", "messages": [{"role": "user", "content": "Hi"}]}, "Be kind.\n\nHi"),
        ({"system": [{"type": "text", "text": "Be kind."}], "messages": []}, "Be kind."),
        ({"instructions": "Be kind.", "input": "Hi"}, "Be kind."),
        (
            {"messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hi"},
                {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
                {"role": "tool", "content": ATTACK},
            ]},
            "Be kind.\n\nWeather?",
        ),
    ],
)  # fmt: skip
def test_the_request_says_the_instruction(litellm, options, guard, request_, instruction):
    apply(litellm, options, {"texts": [CLEAN]}, request_)
    assert guard.asked == [(instruction, CLEAN)]


def test_settings_reach_litellm(litellm, options):
    guardrail = litellm.HeedGuardrail(**options, guardrail_name="screen", default_on=True)
    assert (guardrail.guardrail_name, guardrail.default_on, guardrail.scan_only_tool_results) == ("screen", True, True)


@pytest.mark.skipif(not installed("litellm"), reason="litellm is not installed")
@pytest.mark.filterwarnings("default")  # theirs
@pytest.mark.parametrize(("policy", "passed"), [("replace", NOTICE), ("block", None)])
def test_litellm_hands_it_the_tool_messages_of_a_chat(litellm, options, guard, policy, passed):
    from litellm.llms.openai.chat.guardrail_translation.handler import OpenAIChatCompletionsHandler

    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": f"Weather? {ATTACK}"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", **called("{}")}]},
        {"role": "tool", "tool_call_id": "1", "content": ATTACK},
    ]
    guardrail = litellm.HeedGuardrail(**options, policy=policy)
    work = OpenAIChatCompletionsHandler().process_input_messages({"messages": messages}, guardrail)
    if passed is None:
        with pytest.raises(litellm._exceptions.GuardrailRaisedException):
            asyncio.run(work)
        return
    assert [message["content"] for message in asyncio.run(work)["messages"]][2:] == [None, passed]
    assert guard.asked == [(f"Be kind.\n\nWeather? {ATTACK}", ATTACK)]


@pytest.mark.skipif(not installed("litellm"), reason="litellm is not installed")
@pytest.mark.filterwarnings("default")  # theirs
def test_litellm_hands_it_the_tool_calls_of_an_answer(litellm, options):
    from litellm import ModelResponse
    from litellm.llms.openai.chat.guardrail_translation.handler import OpenAIChatCompletionsHandler

    call = {"id": "1", "type": "function", **called(f'{{"body": "{ATTACK}"}}')}
    response = ModelResponse(choices=[{"message": {"role": "assistant", "content": "", "tool_calls": [call]}}])
    work = OpenAIChatCompletionsHandler().process_output_response(response, litellm.HeedGuardrail(**options))
    with pytest.raises(litellm._exceptions.GuardrailRaisedException):
        asyncio.run(work)
