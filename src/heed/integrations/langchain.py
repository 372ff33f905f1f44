"""A middleware for LangChain agents (1.0 and newer): no tool's output reaches the conversation unscreened.

It wraps each tool call, so that the raw text is in no state, checkpoint or later prompt. Tool messages that were
already in the history handed to the agent are not its business.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from heed.extras import require
from heed.integrations.screen import OnVerdict, Policy, Screen

if TYPE_CHECKING:
    from heed.guard import Guard

_AgentMiddleware: Any = require("langchain.agents.middleware", extra="langchain").AgentMiddleware
_messages = require("langchain_core.messages", extra="langchain")
_graph = require("langgraph.types", extra="langchain")


class ScreenToolOutputs(_AgentMiddleware):
    """Judges what each tool returns, before anything else sees it.

    A message is judged as a whole: its text blocks together; one with other blocks (images) cannot be judged. What may
    not pass keeps its place in the conversation with another content, or raises `BlockedError` under ``block``.

    Parameters
    ----------
    guard, policy, on_verdict
        As for `Screen`.
    instruction
        What the application asks of the model; None: the latest human message of the conversation.
    """

    def __init__(
        self,
        guard: "Guard",
        *,
        policy: Policy = "replace",
        instruction: str | None = None,
        on_verdict: OnVerdict | None = None,
    ) -> None:
        super().__init__()
        self._screen = Screen(guard, policy=policy, instruction=instruction, on_verdict=on_verdict)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Run the tool and screen its result (a ``ToolMessage``, or a ``Command`` with messages)."""
        return self._result(request, handler(request))

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """As `wrap_tool_call`; the guard works in a thread of its own."""
        return await asyncio.to_thread(self._result, request, await handler(request))

    def _result(self, request: Any, result: Any) -> Any:
        asked = _asked(request.state)
        if isinstance(result, _messages.BaseMessage):
            return self._message(result, asked)
        update = result.update if isinstance(result, _graph.Command) else result
        if isinstance(result, _graph.Command) and update is None:
            return result
        if isinstance(result, _graph.Command) and isinstance(update, Mapping):
            told = _messages.convert_to_messages(update.get("messages", ()))
            screened = [self._message(message, asked) for message in told]
            return replace(result, update={**update, "messages": screened}) if screened else result
        withheld = self._screen.unreadable(f"a {type(update).__name__}").or_raise()
        call = request.tool_call
        return _messages.ToolMessage(withheld.text, tool_call_id=call["id"], name=call["name"], status="error")

    def _message(self, message: Any, asked: str | None) -> Any:
        if isinstance(message, _messages.RemoveMessage):
            return message
        text = _text(message.content)
        if text is None:
            screened = self._screen.unreadable("content blocks that are no text")
        else:
            screened = self._screen.text(text, instruction=asked)
        if screened.or_raise().enforced == "allow":
            return message
        return message.model_copy(update={"content": screened.text})


def _asked(state: Any) -> str | None:
    """The latest human message: what the agent is working on."""
    messages = state.get("messages", ()) if isinstance(state, Mapping) else getattr(state, "messages", ())
    human = [message for message in messages if isinstance(message, _messages.HumanMessage)]
    return _text(human[-1].content) if human else None


def _text(content: str | list[Any]) -> str | None:
    """The text of a message's content; None if a block is no text."""
    if isinstance(content, str):
        return content
    texts = [text for block in content if (text := _block(block)) is not None]
    return "\n".join(texts) if len(texts) == len(content) else None


def _block(block: Any) -> str | None:
    text = block.get("text") if isinstance(block, Mapping) and block.get("type") == "text" else block
    return text if isinstance(text, str) else None
