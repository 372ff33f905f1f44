"""Chat messages as applications hold them: dicts come in, the texts in them come out, each with its place.

It reads the shapes of OpenAI's and Anthropic's interfaces. It does not know who is trusted or what is judged.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from heed.errors import InputError

Kind = Literal["text", "document", "tool_result", "tool_call"]
"""What a text is: what the role itself says, a document or file handed along, what a tool brought, or the arguments
of a call."""

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXT_KEYS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "thinking": "thinking",
    "refusal": "refusal",
}
_MEDIA = ("image", "image_url", "input_image", "audio", "input_audio", "video", "video_url", "redacted_thinking")
_DOCUMENTS = ("document", "search_result", "file", "input_file")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands.

    ``message`` is the message's index, ``part`` the index in its list of contents or of tool calls, None where the
    content is one string. ``role`` is ``system`` (a developer's too), ``user``, ``assistant`` or ``tool``, as whose
    the text counts: a tool's result within a user message counts as the tool's. ``name`` is the tool's, the
    document's or the speaker's. ``path`` is the JSONPath (RFC 9535) from the list of messages to the string.
    """

    message: int
    part: int | None
    role: str
    kind: Kind
    path: str
    name: str | None = None
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """One text of a conversation; ``text`` is None where it is something else, such as an image: a ``form``."""

    place: Place
    text: str | None
    form: str = "text"


def listed(messages: object) -> list[Any]:
    """The messages of a conversation.

    Raises
    ------
    InputError
        If it is no collection of messages (one message alone is none), or an empty one.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise InputError(f"expected a list of messages, found {type(messages).__name__}")
    if not (held := list(messages)):
        raise InputError("expected at least one message, found none")
    return held


def texts_of(messages: Iterable[Any]) -> tuple[Told, ...]:
    """The texts of a conversation in order, blank ones left out.

    Arguments that are a dict, as Anthropic's, are told as the JSON that `json.dumps` writes of them.

    Raises
    ------
    InputError
        If a message has another shape; the error names it by its index from 0.
    """
    told = [item for index, message in enumerate(messages) for item in _message(index, message)]
    names = {t.place.tool_call_id: t.place.name for t in told if t.place.kind == "tool_call" and t.place.name}
    return tuple(_named(item, names) for item in told if item.text is None or item.text.strip())


def _named(item: Told, names: Mapping[str | None, str | None]) -> Told:
    """A tool's result by the name of the call it answers, where it has none of its own."""
    place = item.place
    if place.kind != "tool_result" or place.name is not None or place.tool_call_id is None:
        return item
    return replace(item, place=replace(place, name=names.get(place.tool_call_id)))


def _message(index: int, message: object) -> Iterator[Told]:
    where = f"message {index}"
    if not isinstance(message, Mapping):
        raise InputError(f"expected a dict as {where}, found {type(message).__name__}")
    said = message.get("role")
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise InputError(f"expected a role among {', '.join(_ROLES)} in {where}, found {said!r:.80}")
    kind: Kind = "tool_result" if role == "tool" else "text"
    name, call_id = _word(message, "name", where), _word(message, "tool_call_id", where)
    place = Place(index, None, role, kind, f"$[{index}].content", name, call_id)
    if message.get("content") is not None or role != "assistant":
        yield from _content(message.get("content"), place, where)
    yield from _calls(message, place, where)


def _content(content: object, place: Place, where: str) -> Iterator[Told]:
    """The texts of a content: one string, or a list of parts; numbered by the message's own list."""
    if isinstance(content, str):
        yield Told(place, content)
        return
    if not isinstance(content, list | tuple):
        raise InputError(f"expected content as a string or a list of parts in {where}, found {content!r:.80}")
    for number, part in enumerate(content):
        at = replace(place, part=number if place.part is None else place.part, path=f"{place.path}[{number}]")
        yield from _part(part, at, f"part {number} of {where}")


def _part(part: object, place: Place, where: str) -> Iterator[Told]:
    if isinstance(part, str):
        yield Told(place, part)
        return
    form = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(form, str):
        raise InputError(f"expected a dict with a 'type' as {where}, found {part!r:.80}")
    if form in _TEXT_KEYS:
        key = _TEXT_KEYS[form]
        yield Told(replace(place, path=f"{place.path}.{key}"), _string(part, key, where))
    elif form in _MEDIA:
        yield Told(place, None, form)
    elif form in _DOCUMENTS:
        yield from _document(part, form, place, where)
    elif form.endswith("tool_result") and place.kind != "tool_result":
        yield from _result(part, form, place, where)
    elif form.endswith("tool_use"):
        yield _call(
            part.get("name"), part.get("input"), part.get("id"), replace(place, path=f"{place.path}.input"), where
        )
    else:
        raise InputError(f"expected a part that holds text, a document or a tool's result as {where}, found {form!r}")


def _result(part: Mapping[str, Any], form: str, place: Place, where: str) -> Iterator[Told]:
    """Anthropic's tool results, which stand in user messages."""
    place = replace(
        place,
        role="tool",
        kind="tool_result",
        path=f"{place.path}.content",
        name=None,
        tool_call_id=_word(part, "tool_use_id", where),
    )
    content = part.get("content")
    if form == "tool_result" and content is not None:
        yield from _content(content, place, where)
    elif content is not None:
        yield Told(place, None, form)


def _document(part: Mapping[str, Any], form: str, place: Place, where: str) -> Iterator[Told]:
    """A document's text, and the title and context that stand beside it, which the model sees too."""
    place = replace(place, kind="document", name=_word(part, "title", where) or _word(part, "name", where))
    for key in ("title", "context"):
        if part.get(key) is not None:
            yield Told(replace(place, path=f"{place.path}.{key}"), _string(part, key, where))
    source = part.get("source")
    if part.get("text") is not None:
        yield Told(replace(place, path=f"{place.path}.text"), _string(part, "text", where))
    elif form == "search_result":
        yield from _content(part.get("content"), replace(place, path=f"{place.path}.content"), where)
    elif isinstance(source, Mapping) and source.get("type") == "text":
        yield Told(replace(place, path=f"{place.path}.source.data"), _string(source, "data", where))
    elif isinstance(source, Mapping) and source.get("type") == "content":
        yield from _content(source.get("content"), replace(place, path=f"{place.path}.source.content"), where)
    else:
        yield Told(place, None, form)


def _calls(message: Mapping[str, Any], place: Place, where: str) -> Iterator[Told]:
    """OpenAI's tool calls, and the one function call of its older shape."""
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list | tuple):
        raise InputError(f"expected a list as tool_calls in {where}, found {type(calls).__name__}")
    for number, call in enumerate(calls or ()):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise InputError(f"expected a dict with a 'function' as tool call {number} of {where}, found {call!r:.80}")
        path = f"$[{place.message}].tool_calls[{number}].function.arguments"
        at = replace(place, part=number, path=path)
        yield _call(
            function.get("name"), function.get("arguments"), call.get("id"), at, f"tool call {number} of {where}"
        )
    old = message.get("function_call")
    if old is not None:
        if not isinstance(old, Mapping):
            raise InputError(f"expected a dict as function_call in {where}, found {type(old).__name__}")
        at = replace(place, path=f"$[{place.message}].function_call.arguments")
        yield _call(old.get("name"), old.get("arguments"), None, at, f"the function call of {where}")


def _call(name: object, arguments: object, call_id: object, place: Place, where: str) -> Told:
    """The arguments of one call."""
    if not isinstance(name, str) or not isinstance(call_id, str | None):
        raise InputError(f"expected a name and an id as strings in {where}, found {name!r:.80} and {call_id!r:.80}")
    place = replace(place, kind="tool_call", name=name, tool_call_id=call_id)
    try:
        if isinstance(arguments, str):
            if arguments.strip():
                json.loads(arguments)
            return Told(place, arguments)
        if isinstance(arguments, Mapping):
            return Told(place, json.dumps(dict(arguments), ensure_ascii=False) if arguments else "")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"expected JSON as arguments of {where}, found {error}") from error
    raise InputError(f"expected JSON or a dict as arguments of {where}, found {type(arguments).__name__}")


def _string(part: Mapping[str, Any], key: str, where: str) -> str:
    value = part.get(key)
    if not isinstance(value, str):
        raise InputError(f"expected {key!r} as a string in {where}, found {type(value).__name__}")
    return value


def _word(part: Mapping[str, Any], key: str, where: str) -> str | None:
    return None if part.get(key) is None else _string(part, key, where)
