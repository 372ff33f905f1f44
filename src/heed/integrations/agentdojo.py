"""A pipeline element for AgentDojo: screens tool outputs between the tools and the model.

It stands in ``ToolsExecutionLoop`` after ``ToolsExecutor``, where AgentDojo's own detectors stand.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from heed.extras import require
from heed.integrations.screen import OnVerdict, Policy, Screen

if TYPE_CHECKING:
    from heed.guard import Guard

_pipeline = require("agentdojo.agent_pipeline", extra="agentdojo")
_PipelineElement: Any = _pipeline.BasePipelineElement
_runtime = require("agentdojo.functions_runtime", extra="agentdojo")
_types = require("agentdojo.types", extra="agentdojo")


class ScreenToolOutputs(_PipelineElement):
    """Judges the tool messages the model has not answered yet: their content and their error, both of which it reads.

    Under ``block`` the run ends with AgentDojo's ``AbortAgentError``; otherwise such a text is replaced in its message.

    Parameters
    ----------
    guard, policy, on_verdict
        As for `Screen`.
    instruction
        What the application asks of the model; None: the user task that the pipeline runs.
    """

    name = "heed"

    def __init__(
        self,
        guard: "Guard",
        *,
        policy: Policy = "replace",
        instruction: str | None = None,
        on_verdict: OnVerdict | None = None,
    ) -> None:
        self._screen = Screen(guard, policy=policy, instruction=instruction, on_verdict=on_verdict)

    def query(
        self,
        query: str,
        runtime: Any,
        env: Any = _runtime.EmptyEnv(),  # noqa: B008 - AgentDojo's own default
        messages: Sequence[Any] = (),
        extra_args: dict[str, Any] | None = None,
    ) -> tuple[str, Any, Any, Sequence[Any], dict[str, Any]]:
        """Pass everything on, with the latest tool messages screened."""
        new = len(messages)
        while new and messages[new - 1]["role"] == "tool":
            new -= 1
        screened = [self._message(query, message, messages, env) for message in messages[new:]]
        return query, runtime, env, [*messages[:new], *screened], {} if extra_args is None else extra_args

    def _message(self, query: str, message: Any, messages: Sequence[Any], env: Any) -> Any:
        content, error = message["content"] or [], message.get("error")
        texts = [_types.get_text_content_as_str(content), error or ""]
        outcomes = self._screen.texts(texts, instruction=query)
        for outcome in outcomes:
            if outcome.enforced == "block":
                raise _pipeline.AbortAgentError("the guard stopped a tool's output", list(messages), env)
        shown, told = outcomes
        if shown.enforced != "allow":
            content = [_types.text_content_block_from_string(shown.text)]
        return {**message, "content": content, "error": told.text or error}
