"""Messages: who speaks, in which parts, and whether a part may instruct.

In come strings or OpenAI-style dicts, out come frozen values whose text is sound: a tokenizer can
take it, a tool call's arguments are a JSON object, a name cannot hold markup. Knows no template.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from heed.errors import RecordError, TextError

_NAME = re.compile(r"[\w.:/@-]{1,128}")
_ROLE_ALIASES = {"developer": "system"}
_TEXT_TYPES = {"text", "input_text", "output_text"}
_KNOWN_KEYS = {"role", "content", "name", "tool_calls", "tool_call_id"}


class Role(StrEnum):
    """Who speaks in a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Trust(StrEnum):
    """Whether a text may instruct the model (trusted) or is only data (untrusted)."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


def check_text(text: str, *, where: str) -> str:
    """Return ``text`` if a tokenizer can take it.

    Raises
    ------
    TextError
        If it is not a string or holds a lone surrogate; ``where`` says which text it is.
    """
    if not isinstance(text, str):
        raise TextError(f"expected a string as {where}, found {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"expected text without lone surrogates as {where}, found U+{ord(text[error.start]):04X} at character"
            f" {error.start}; decode the source with errors='replace' or remove it"
        ) from None
    return text


def _check_name(name: str, *, where: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecordError(
            f"expected 1 to 128 letters, digits or any of _ . : / @ - as {where}, found {name!r}; rename it"
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a message's content with one trust; ``name`` finds it again in the prompt.

    Raises
    ------
    TextError
        If the text holds a lone surrogate.
    """

    text: str
    trust: Trust = Trust.TRUSTED
    name: str = ""

    def __post_init__(self) -> None:
        check_text(self.text, where=f"the text of part {self.name!r}")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the assistant made: the function's name and its arguments as the raw JSON string.

    Raises
    ------
    TextError
        If the arguments hold a lone surrogate.
    RecordError
        If the name holds anything but name characters, or the arguments are not a JSON object.
    """

    name: str
    arguments: str = "{}"
    trust: Trust = Trust.TRUSTED
    id: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name, where="a tool call's name")
        if self.id:
            _check_name(self.id, where="a tool call's id")
        check_text(self.arguments, where=f"the arguments of tool call {self.name!r}")
        self.parsed()

    @property
    def text(self) -> str:
        """The raw arguments: the text that offsets count in."""
        return self.arguments

    def parsed(self) -> dict[str, Any]:
        """The arguments as chat templates expect them."""
        try:
            value = json.loads(self.arguments)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"expected JSON as arguments of tool call {self.name!r}, found {error}") from None
        if not isinstance(value, dict):
            raise RecordError(
                f"expected a JSON object as arguments of tool call {self.name!r}, found {type(value).__name__}"
            )
        return value


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: a role, its content in parts that stand side by side, and the tool calls it made.

    ``name`` is the speaker's or tool's name, ``tool_call_id`` the call a tool message answers.

    Raises
    ------
    RecordError
        If a name or id holds anything but name characters.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        for field in ("name", "tool_call_id"):
            value = getattr(self, field)
            if value is not None:
                _check_name(value, where=f"a message's {field}")

    @property
    def content(self) -> str:
        """The text of all parts, joined with nothing between them."""
        return "".join(part.text for part in self.parts)

    @classmethod
    def of(cls, role: Role | str, text: str, *, trust: Trust | None = None, name: str = "") -> Self:
        """A message of one part called ``name``; a tool's is untrusted unless ``trust`` says otherwise."""
        role = Role(role)
        return cls(role, (Part(text, trust or default_trust(role), name),))


def default_trust(role: Role) -> Trust:
    """What a role's text is taken for when nothing is said: tools bring data, the others instruct."""
    return Trust.UNTRUSTED if role is Role.TOOL else Trust.TRUSTED


def messages_from(records: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Read OpenAI-style dicts: ``content`` a string or a list of text parts, ``tool_calls`` with JSON arguments.

    Trust follows the role (`default_trust`); ``developer`` counts as ``system``.

    Raises
    ------
    RecordError
        If a record has another shape; the message names the record by its number from 0.
    TextError
        If a text holds a lone surrogate.
    """
    return tuple(_message(record, where=f"message {number}") for number, record in enumerate(records))


def _message(record: Mapping[str, Any], *, where: str) -> Message:
    if not isinstance(record, Mapping):
        raise RecordError(f"expected a dict as {where}, found {type(record).__name__}")
    unknown = sorted(str(key) for key, value in record.items() if value and key not in _KNOWN_KEYS)
    if unknown:
        raise RecordError(f"expected only {sorted(_KNOWN_KEYS)} in {where}, found {unknown}; remove them")
    spoken = record.get("role")
    spoken = _ROLE_ALIASES.get(spoken, spoken) if isinstance(spoken, str) else spoken
    if spoken not in list(Role):
        raise RecordError(f"expected a role among {[r.value for r in Role]} in {where}, found {record.get('role')!r}")
    role = Role(spoken)
    calls = tuple(_tool_call(call, where=where) for call in _listed(record.get("tool_calls"), where=where))
    parts = tuple(Part(text, default_trust(role)) for text in _texts(record.get("content"), where=where))
    if not parts and not calls:
        raise RecordError(f"expected content or tool_calls in {where}, found neither")
    return Message(role, parts, calls, record.get("name"), record.get("tool_call_id"))


def _listed(value: object, *, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise RecordError(f"expected a list as tool_calls in {where}, found {type(value).__name__}")
    return list(value)


def _texts(content: object, *, where: str) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list | tuple):
        raise RecordError(f"expected a string or a list of text parts as content of {where}, found {content!r:.80}")
    return [_text(part, where=where) for part in content]


def _text(part: object, *, where: str) -> str:
    if isinstance(part, Mapping) and part.get("type") in _TEXT_TYPES and isinstance(part.get("text"), str):
        return str(part["text"])
    raise RecordError(
        f'expected text parts ({{"type": "text", "text": ...}}) in {where}, found {part!r:.80}; heed reads text only'
    )


def _tool_call(call: object, *, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(function, Mapping):
        raise RecordError(f"expected tool calls with a 'function' in {where}, found {call!r:.80}")
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise RecordError(
            f"expected 'name' and 'arguments' as strings in tool calls of {where}, found {function!r:.80}"
        )
    return ToolCall(name, arguments, id=call.get("id") or "")
