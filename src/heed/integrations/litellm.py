"""A guardrail for LiteLLM's proxy, reached by every endpoint through the unified ``apply_guardrail``.

LiteLLM calls it before the model (``pre_call``), beside it (``during_call``, the moderation hook) and after it
(``post_call``), takes the texts out of chat, messages and responses requests, and puts changed ones back.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from heed.errors import BlockedError
from heed.extras import require
from heed.integrations.screen import OnVerdict, Policy, Screen

if TYPE_CHECKING:
    from heed.guard import Guard

_CustomGuardrail: Any = require("litellm.integrations.custom_guardrail", extra="litellm").CustomGuardrail
_exceptions = require("litellm.exceptions", extra="litellm")


class HeedGuardrail(_CustomGuardrail):
    """Judges tool outputs on their way to the model, and the arguments of the tool calls it makes.

    Arguments are never rewritten: a call whose arguments may not pass is refused under every policy. So is an image
    beside a tool's text, which cannot be judged. A refusal is LiteLLM's ``GuardrailRaisedException``.

    Parameters
    ----------
    guard, policy, on_verdict
        As for `Screen`; beside the model (``during_call``) LiteLLM ignores changed texts, so use ``block`` there.
    instruction
        What the application asks of the model; None: the request's system text and latest user message.
    scan_only_tool_results
        False: system and user texts are judged as untrusted, too; give an ``instruction`` then.
    settings
        What LiteLLM's ``CustomGuardrail`` takes: ``guardrail_name``, ``event_hook``, ``default_on`` …
    """

    def __init__(
        self,
        guard: "Guard",
        *,
        policy: Policy = "block",
        instruction: str | None = None,
        on_verdict: OnVerdict | None = None,
        scan_only_tool_results: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(**{"guardrail_name": "heed", **settings})
        self.scan_only_tool_results = scan_only_tool_results
        self._screen = Screen(guard, policy=policy, instruction=instruction, on_verdict=on_verdict)

    async def apply_guardrail(
        self,
        inputs: Mapping[str, Any],
        request_data: dict[str, Any],
        input_type: Literal["request", "response"],
        logging_obj: Any = None,
    ) -> dict[str, Any]:
        """The inputs with their texts screened; of a response only the tool calls are judged.

        Raises
        ------
        GuardrailRaisedException
            If something may not pass and cannot be replaced.
        """
        del logging_obj
        try:
            return await asyncio.to_thread(self._screened, inputs, _asked(request_data), input_type == "request")
        except BlockedError as error:
            raise _exceptions.GuardrailRaisedException(self.guardrail_name, str(error)) from error

    def _screened(self, inputs: Mapping[str, Any], asked: str | None, request: bool) -> dict[str, Any]:
        blocking = self._screen.blocking()
        if request and inputs.get("images"):
            blocking.unreadable("an image").or_raise()
        for call in blocking.texts(map(_arguments, inputs.get("tool_calls") or ()), instruction=asked):
            call.or_raise()
        if not request:
            return dict(inputs)
        texts = self._screen.texts(inputs.get("texts") or (), instruction=asked)
        return {**inputs, "texts": [screened.or_raise().text for screened in texts]}


def _arguments(call: Any) -> str:
    """A tool call's arguments as one text; an empty object is no text."""
    function = call.get("function") if isinstance(call, Mapping) else getattr(call, "function", None)
    found = function.get("arguments") if isinstance(function, Mapping) else getattr(function, "arguments", None)
    text = found if isinstance(found, str) else json.dumps(found or {}, ensure_ascii=False)
    return "" if text.strip() == "{}" else text


def _asked(request: Mapping[str, Any]) -> str | None:
    """What the request itself asks: its system text and the latest user message."""
    messages = [one for one in request.get("messages") or () if isinstance(one, Mapping)]
    system = [request.get("system"), request.get("instructions")]
    system += [one.get("content") for one in messages if one.get("role") in ("system", "developer")]
    user = [one.get("content") for one in messages if one.get("role") == "user"]
    texts = [_text(content) for content in [*system, *user[-1:]]]
    return "\n\n".join(text for text in texts if text.strip()) or None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks: Iterable[Any] = content if isinstance(content, list) else ()
    return "\n".join(one["text"] for one in blocks if isinstance(one, Mapping) and isinstance(one.get("text"), str))
