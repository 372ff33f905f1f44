import pytest

from integrations.recorded import installed
from integrations.scripted import ATTACK, CLEAN, NOTICE, TOO_LONG


@pytest.fixture
def agentdojo(adapter):
    return adapter("agentdojo")


def text(content):
    return [{"type": "text", "content": content}]


def tool(content, error=None):
    return {"role": "tool", "content": text(content), "tool_call_id": "1", "tool_call": None, "error": error}


def user(content):
    return {"role": "user", "content": text(content)}


def test_only_the_latest_tool_messages_are_screened_and_their_order_stays(agentdojo, options, guard):
    old = tool(ATTACK)
    answer = {"role": "assistant", "content": None, "tool_calls": None}
    messages = [user("Weather?"), old, answer, tool(CLEAN), tool(ATTACK), tool("", error=f"no {ATTACK}")]
    query, runtime, env, passed, extra = agentdojo.ScreenToolOutputs(**options).query("Weather?", None, "env", messages)
    assert (query, runtime, env, extra) == ("Weather?", None, "env", {})
    assert passed[:4] == messages[:4]
    assert [message["content"] for message in passed[4:]] == [text(NOTICE), text("")]
    assert [message["error"] for message in passed[3:]] == [None, None, NOTICE]
    assert messages[4] == tool(ATTACK)
    assert {instruction for instruction, _ in guard.asked} == {"Weather?"}


@pytest.mark.parametrize("messages", [[], [user(ATTACK)]])
def test_without_tool_messages_nothing_is_judged(agentdojo, options, guard, messages):
    assert agentdojo.ScreenToolOutputs(**options).query("?", None, None, messages)[3] == messages
    assert guard.asked == []


def test_abstaining_withholds_and_sanitizing_leaves_the_rest(agentdojo, options):
    long = agentdojo.ScreenToolOutputs(**options).query("?", None, None, [tool("TOO LONG")])[3]
    assert long[0]["content"] == text(TOO_LONG)
    element = agentdojo.ScreenToolOutputs(**options, policy="sanitize")
    assert element.query("?", None, None, [tool(f"{CLEAN} {ATTACK}")])[3][0]["content"] == text(CLEAN)


def test_blocking_aborts_the_run_without_quoting(agentdojo, options):
    element = agentdojo.ScreenToolOutputs(**options, policy="block")
    with pytest.raises(agentdojo._pipeline.AbortAgentError) as raised:
        element.query("?", None, "env", [tool(ATTACK)])
    assert ATTACK not in str(raised.value)
    assert raised.value.task_environment == "env"


@pytest.mark.skipif(not installed("agentdojo"), reason="agentdojo is not installed")
def test_it_stands_in_a_pipeline_of_agentdojo(agentdojo, options):
    from agentdojo.agent_pipeline import AgentPipeline, InitQuery, ToolsExecutionLoop, ToolsExecutor
    from agentdojo.agent_pipeline.base_pipeline_element import BasePipelineElement
    from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime

    runtime = FunctionsRuntime()

    @runtime.register_function
    def weather() -> str:
        """Tell the weather."""
        return ATTACK

    class Model(BasePipelineElement):
        def query(self, query, runtime, env=None, messages=(), extra_args=None):
            calls = [] if messages[-1]["role"] == "tool" else [FunctionCall(function="weather", args={}, id="1")]
            answer = {"role": "assistant", "content": text("x"), "tool_calls": calls}
            return query, runtime, env, [*messages, answer], extra_args or {}

    screen = agentdojo.ScreenToolOutputs(**options)
    loop = ToolsExecutionLoop([ToolsExecutor(), screen, Model()])
    messages = AgentPipeline([InitQuery(), Model(), loop]).query("Weather?", runtime)[3]
    assert [message["content"] for message in messages if message["role"] == "tool"] == [text(NOTICE)]
