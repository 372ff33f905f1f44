"""Chat templates: write messages through one and learn, from the text itself, where each content landed.

The template is run twice: once with a mark in place of each content, which shows the control text
around them, and once with the contents. Walking the second along the first gives every offset by
construction, and proves it: what does not match to the last character is an error, never a guess.
Knows no tokens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from heed.errors import InputError, SpanNotFoundError
from heed.text.charmap import CharMap
from heed.text.forms import align_json, forms
from heed.text.message import Message, Part, Role, ToolCall, check_text
from heed.text.rendered import Landing
from heed.text.span import CharSpan
from heed.text.tokenizer import FastTokenizer

_FIRST_MARK = 0xF1000
_GAP = Part("\n\n")
"""Stands between a folded system text and the user's own; not the caller's, so it has no landing."""


class TemplateRefusedError(InputError):
    """The chat template raised on these messages."""


class ContentDroppedError(SpanNotFoundError):
    """The chat template does not write some content, or writes it more than once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message as the template gets it, and from which of the caller's messages each part comes."""

    message: Message
    origins: tuple[int, ...]
    number: int


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place the template fills: a turn's content, or the arguments of one of its calls."""

    turn: Turn
    call: ToolCall | None = None

    def __str__(self) -> str:
        what = "the content" if self.call is None else f"the arguments of tool call {self.call.name!r}"
        return f"{what} of message {self.turn.number} ({self.turn.message.role})"


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """Number the messages."""
    return [Turn(message, (number,) * len(message.parts), number) for number, message in enumerate(messages)]


def fold_system(turns: Sequence[Turn]) -> list[Turn]:
    """Put each system text in front of the next user message, a blank line between.

    Raises
    ------
    InputError
        If no user message follows.
    """
    folded: list[Turn] = []
    held: list[tuple[Part, int]] = []
    for turn in turns:
        own = list(zip(turn.message.parts, turn.origins, strict=True))
        if turn.message.role is Role.SYSTEM:
            held += [*own, (_GAP, turn.number)]
        elif turn.message.role is Role.USER and held:
            parts, origins = zip(*held, *own, strict=True)
            folded.append(Turn(replace(turn.message, parts=parts), origins, turn.number))
            held = []
        else:
            folded.append(turn)
    if held:
        raise InputError(
            "expected a user message after the system message, found none to fold it into;"
            " this model's chat template has no system role, so add a user message"
        )
    return folded


def place(
    turns: Sequence[Turn],
    tokenizer: FastTokenizer,
    *,
    generation_prompt: bool,
    tools: Sequence[Mapping[str, Any]] | None,
) -> tuple[str, tuple[Landing, ...]]:
    """Render the turns and find where every part landed.

    Raises
    ------
    TemplateRefusedError
        If the template raises on messages of these roles.
    ContentDroppedError
        If it does not write each content exactly once.
    SpanNotFoundError
        If it treats a content otherwise than as it is, trimmed or as JSON.
    """
    slots = _slots(turns)
    marks = [chr(_FIRST_MARK + number) for number in range(len(slots))]

    def write(marks: Iterator[str] | None) -> str:
        conversation = [_record(turn, marks) for turn in turns]
        return _apply(conversation, tokenizer, generation_prompt=generation_prompt, tools=tools)

    pieces, order = _split(write(iter(marks)), dict(zip(marks, slots, strict=True)))
    try:
        text = write(None)
    except TemplateRefusedError as error:
        raise SpanNotFoundError(f"expected a chat template that takes any content, found this: {error}") from None
    check_text(text, where="the rendered prompt")
    return text, tuple(_walk(text, pieces, order))


def _slots(turns: Sequence[Turn]) -> list[_Slot]:
    slots = []
    for turn in turns:
        if turn.message.content:
            slots.append(_Slot(turn))
        slots += [_Slot(turn, call) for call in turn.message.tool_calls if call.parsed()]
    return slots


def _record(turn: Turn, marks: Iterator[str] | None) -> dict[str, Any]:
    """The turn as chat templates expect it; each text replaced by the next mark, in the order of `_slots`."""
    message = turn.message
    content = next(marks) if marks and message.content else message.content
    record: dict[str, Any] = {"role": message.role.value, "content": content}
    if message.name is not None:
        record["name"] = message.name
    if message.tool_call_id is not None:
        record["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        record["tool_calls"] = [_call(call, marks) for call in message.tool_calls]
    return record


def _call(call: ToolCall, marks: Iterator[str] | None) -> dict[str, Any]:
    arguments = call.parsed()
    if marks and arguments:
        mark = next(marks)
        arguments = {mark: mark}
    function = {"name": call.name, "arguments": arguments}
    return {"type": "function", "function": function, **({"id": call.id} if call.id else {})}


def _apply(
    conversation: list[dict[str, Any]],
    tokenizer: FastTokenizer,
    *,
    generation_prompt: bool,
    tools: Sequence[Mapping[str, Any]] | None,
) -> str:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            conversation, tools=tools, tokenize=False, add_generation_prompt=generation_prompt
        )
    except (TemplateError, RecursionError) as error:
        roles = [record["role"] for record in conversation]
        raise TemplateRefusedError(
            f"expected messages that the model's chat template accepts, found roles {roles} and the template says:"
            f" {error}; change the messages or the template"
        ) from None
    return str(text)


def _split(marked: str, slots: Mapping[str, _Slot]) -> tuple[list[str], list[_Slot]]:
    """The control text around the marks, and the slots in the order of the text."""
    if not slots:
        return [marked], []
    contents = "".join(mark for mark, slot in slots.items() if slot.call is None)
    calls = "".join(mark for mark, slot in slots.items() if slot.call is not None)
    one = [f"([{contents}])"] if contents else []
    two = [rf'\{{\s*"([{calls}])"\s*:\s*"[{calls}]"\s*\}}'] if calls else []
    pieces, found, at = [], [], 0
    for match in re.finditer("|".join(one + two), marked):
        pieces.append(marked[at : match.start()])
        found.append(slots[match.group(match.lastindex or 0)])
        at = match.end()
    pieces.append(marked[at:])
    for mark, slot in slots.items():
        times, left = sum(slot is other for other in found), any(mark in piece for piece in pieces)
        if times != 1 or left:
            raise ContentDroppedError(
                f"expected the chat template to write {slot} once, found it {times} times"
                f"{' and in pieces' if left else ''}; this template cannot be followed"
            )
    return pieces, found


def _walk(text: str, pieces: Sequence[str], slots: Sequence[_Slot]) -> Iterator[Landing]:
    at = len(pieces[0])
    if not text.startswith(pieces[0]):
        raise _unlike("its opening", text, 0)
    for slot, after in zip(slots, pieces[1:], strict=True):
        charmap, end = _fit(slot, text, at, after)
        yield from _landings(slot, charmap, CharSpan(at, end))
        at = end + len(after)
    if at != len(text):
        raise _unlike("its end", text, at)


def _fit(slot: _Slot, text: str, at: int, after: str) -> tuple[CharMap, int]:
    """The form in which the slot was filled, such that the control text goes on behind it."""
    if slot.call is not None:
        charmap, end = align_json(slot.call.arguments, text, at=at)
        if text.startswith(after, end):
            return charmap, end
        raise _unlike(str(slot), text, at)
    for form, charmap in forms(slot.turn.message.content):
        end = at + len(form)
        if text.startswith(form, at) and text.startswith(after, end):
            return charmap, end
    raise _unlike(str(slot), text, at)


def _landings(slot: _Slot, charmap: CharMap, span: CharSpan) -> Iterator[Landing]:
    if slot.call is not None:
        yield Landing(slot.call, slot.turn.number, span, charmap)
        return
    start = 0
    for part, origin in zip(slot.turn.message.parts, slot.turn.origins, strict=True):
        raw = CharSpan(start, start + len(part.text))
        start = raw.end
        if part.text and part is not _GAP:
            own, own_map = charmap.part(raw)
            yield Landing(part, origin, own.shift(span.start), own_map)


def _unlike(what: str, text: str, at: int) -> SpanNotFoundError:
    return SpanNotFoundError(
        f"expected the chat template to write {what} as it is, trimmed or as JSON, found {text[at : at + 40]!r};"
        " the template changes its text in a way heed cannot follow"
    )
