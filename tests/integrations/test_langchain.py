import asyncio
from types import SimpleNamespace

import pytest

from heed.errors import BlockedError
from integrations.recorded import installed
from integrations.scripted import ATTACK, CLEAN, NOTICE, TOO_LONG, UNREADABLE


@pytest.fixture
def langchain(adapter):
    return adapter("langchain")


@pytest.fixture
def request_(langchain):
    human = langchain._messages.HumanMessage
    messages = [human("Hello."), human([{"type": "text", "text": "Weather?"}])]
    return SimpleNamespace(state={"messages": messages}, tool_call={"id": "1", "name": "weather"})


def call(langchain, options, request, result, **more):
    middleware = langchain.ScreenToolOutputs(**options, **more)
    sync = middleware.wrap_tool_call(request, lambda _: result)

    async def handler(_):
        return result

    later = asyncio.run(middleware.awrap_tool_call(request, handler))
    assert getattr(sync, "content", None) == getattr(later, "content", None)
    return sync


@pytest.mark.parametrize(
    ("content", "passed"),
    [
        (CLEAN, CLEAN),
        ("", ""),
        (ATTACK, NOTICE),
        ([{"type": "text", "text": CLEAN}, "more"], [{"type": "text", "text": CLEAN}, "more"]),
        ([{"type": "text", "text": CLEAN}, ATTACK], NOTICE),
        ([{"type": "image", "url": "x"}, CLEAN], UNREADABLE),
        ("TOO LONG", TOO_LONG),
    ],
)
def test_a_tool_message_is_screened_as_a_whole(langchain, options, request_, content, passed):
    message = langchain._messages.ToolMessage(content, tool_call_id="1", name="weather")
    result = call(langchain, options, request_, message)
    assert (result.content, result.tool_call_id, result.name) == (passed, "1", "weather")


def test_the_latest_human_message_is_the_instruction(langchain, options, guard, request_):
    message = langchain._messages.ToolMessage(CLEAN, tool_call_id="1")
    call(langchain, options, request_, message)
    call(langchain, options, request_, message, instruction="Own.")
    call(langchain, options, SimpleNamespace(state={}, tool_call={}), message)
    assert [asked for asked, _ in guard.asked] == ["Weather?"] * 2 + ["Own."] * 2 + [None] * 2


def test_blocking_raises_without_quoting(langchain, options, request_):
    message = langchain._messages.ToolMessage(ATTACK, tool_call_id="1")
    with pytest.raises(BlockedError) as raised:
        call(langchain, options, request_, message, policy="block")
    assert ATTACK not in str(raised.value)


def test_the_messages_of_a_command_are_screened(langchain, options, request_):
    tool, remove, command = langchain._messages.ToolMessage, langchain._messages.RemoveMessage, langchain._graph.Command
    messages = [remove(id="7"), tool(ATTACK, tool_call_id="1"), tool(CLEAN, tool_call_id="2")]
    result = call(langchain, options, request_, command(update={"messages": messages, "files": 1}, goto="next"))
    assert [message.content for message in result.update["messages"]] == ["", NOTICE, CLEAN]
    assert (result.update["files"], result.goto) == (1, "next")
    for untold in (command(goto="next"), command(update={"files": 1})):
        assert call(langchain, options, request_, untold) is untold


def test_a_result_of_another_shape_is_withheld(langchain, options, request_):
    for odd in ([("messages", [ATTACK])], langchain._graph.Command(update=[("messages", [ATTACK])])):
        result = call(langchain, options, request_, odd)
        assert (result.content, result.tool_call_id, result.status) == (UNREADABLE, "1", "error")


@pytest.mark.skipif(not installed("langchain"), reason="langchain is not installed")
@pytest.mark.parametrize("policy", ["replace", "sanitize", "block"])
def test_an_agent_of_langchain_sees_only_what_passed(options, told, langchain, policy):
    from langchain.agents import create_agent
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    def weather() -> str:
        """Tell the weather."""
        return f"{CLEAN} {ATTACK}"

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools, **_):
            return self

    calls = AIMessage("", tool_calls=[{"name": "weather", "args": {}, "id": "1"}])
    screen = langchain.ScreenToolOutputs(**options, policy=policy)
    agent = create_agent(Model(messages=iter([calls, AIMessage("Done.")])), [weather], middleware=[screen])
    question = {"messages": [("user", "Weather?")]}
    if policy == "block":
        with pytest.raises(BlockedError):
            agent.invoke(question)
        return
    seen = agent.invoke(question)["messages"][2].content
    assert seen == {"replace": NOTICE, "sanitize": CLEAN}[policy]
    assert told == [("ok", policy)]
