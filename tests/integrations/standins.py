"""What the adapters use of each library, for machines without it: names, parameters and behaviour as recorded.

`test_contracts.py` holds these against `contracts/*.json`, and those against the libraries where they are installed.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import ModuleType


@dataclass
class BaseMessage:
    content: object
    id: str | None = None
    name: str | None = None

    def model_copy(self, *, update):
        return replace(self, **update)


@dataclass
class HumanMessage(BaseMessage):
    pass


@dataclass
class RemoveMessage(BaseMessage):
    content: object = ""


@dataclass
class ToolMessage(BaseMessage):
    tool_call_id: str = ""
    status: str = "success"


@dataclass
class Command:
    graph: object = None
    update: object = None
    resume: object = None
    goto: object = ()


class AgentMiddleware:
    pass


@dataclass
class ToolCallRequest:
    tool_call: dict
    tool: object
    state: object
    runtime: object


def convert_to_messages(messages):
    return list(messages)


class EmptyEnv:
    pass


class BasePipelineElement(ABC):
    name: str | None = None

    @abstractmethod
    def query(self, query, runtime, env=None, messages=(), extra_args=None):
        raise NotImplementedError


class AbortAgentError(Exception):
    def __init__(self, message, messages, task_environment):
        super().__init__(message)
        self.messages, self.task_environment = messages, task_environment


def get_text_content_as_str(content_blocks):
    return "\n".join(block["content"] for block in content_blocks if block["content"] is not None)


def text_content_block_from_string(content):
    return {"type": "text", "content": content}


def action(is_system_action=False, name=None, execute_async=False):
    def decorate(function):
        function.action_meta = {"name": name, "is_system_action": is_system_action, "execute_async": execute_async}
        return function

    return decorate


class RailDecision(StrEnum):
    ALLOW = "allow"
    BLOCK = "block"
    TRANSFORM = "transform"


class TransformTarget(StrEnum):
    USER_MESSAGE = "user_message"
    BOT_MESSAGE = "bot_message"
    RELEVANT_CHUNKS = "relevant_chunks"


@dataclass
class RailOutcome:
    decision: RailDecision
    reason: str | None = None
    metadata: dict = field(default_factory=dict)
    transform_text: dict = field(default_factory=dict)

    @property
    def is_blocked(self):
        return self.decision is RailDecision.BLOCK

    @property
    def is_transform(self):
        return self.decision is RailDecision.TRANSFORM

    @classmethod
    def allow(cls, *, reason=None, metadata=None):
        return cls(RailDecision.ALLOW, reason, metadata)

    @classmethod
    def block(cls, *, reason=None, metadata=None):
        return cls(RailDecision.BLOCK, reason, metadata)

    @classmethod
    def transform(cls, rewrites, *, reason=None, metadata=None):
        return cls(RailDecision.TRANSFORM, reason, metadata, {target.value: text for target, text in rewrites})


class CustomGuardrail:
    def __init__(self, guardrail_name=None, event_hook=None, default_on=False):
        self.guardrail_name, self.event_hook, self.default_on = guardrail_name, event_hook, default_on

    async def apply_guardrail(self, inputs, request_data, input_type, logging_obj=None):
        return inputs


class GuardrailRaisedException(Exception):  # noqa: N818 - theirs
    def __init__(self, guardrail_name=None, message=""):
        super().__init__(message)
        self.guardrail_name = guardrail_name


def _module(name, *members):
    module = ModuleType(name)
    for member in members:
        setattr(module, member.__name__, member)
    return module


MODULES = {
    "langchain": [
        _module("langchain.agents.middleware", AgentMiddleware, ToolCallRequest),
        _module("langchain_core.messages", BaseMessage, HumanMessage, RemoveMessage, ToolMessage, convert_to_messages),
        _module("langgraph.types", Command),
    ],
    "agentdojo": [
        _module("agentdojo.agent_pipeline", BasePipelineElement, AbortAgentError),
        _module("agentdojo.functions_runtime", EmptyEnv),
        _module("agentdojo.types", get_text_content_as_str, text_content_block_from_string),
    ],
    "nemo": [
        _module("nemoguardrails.actions", action),
        _module("nemoguardrails.actions.rail_outcome", RailOutcome, TransformTarget),
    ],
    "litellm": [
        _module("litellm.integrations.custom_guardrail", CustomGuardrail),
        _module("litellm.exceptions", GuardrailRaisedException),
    ],
}
"""The stand-in modules of each adapter."""
