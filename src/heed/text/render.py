"""Messages in, the exact prompt text out, with the place where each part landed.

Through the tokenizer's chat template where it has one; one part after the other, and said so, where
it has none. Knows no tokens: `heed.text.encode` makes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heed.errors import InputError, TextError
from heed.text.charmap import CharMap
from heed.text.control import control_names
from heed.text.message import Message, Role
from heed.text.rendered import Landing, Rendered
from heed.text.span import CharSpan
from heed.text.template import ContentDroppedError, TemplateRefusedError, fold_system, place, turns_of
from heed.text.tokenizer import FastTokenizer

NOTE_PLAIN = "no chat template: messages joined by blank lines"
NOTE_NO_SYSTEM = "no system role: instruction folded into the first user turn"

Tools = Sequence[Mapping[str, Any]]
"""Tool descriptions as JSON schemas, as OpenAI and Hugging Face define them."""


def render(
    messages: Sequence[Message],
    tokenizer: FastTokenizer,
    *,
    generation_prompt: bool = True,
    tools: Tools | None = None,
) -> Rendered:
    """Write messages the way this model expects them, and remember where each part landed.

    Parameters
    ----------
    generation_prompt
        Whether the text ends with the opening of the assistant's answer.
    tools
        JSON schemas handed to the template.

    Returns
    -------
    Rendered
        The text, exactly what ``apply_chat_template(..., tokenize=False)`` gives for these
        messages (system text folded into the user's where the template has no system role).

    Raises
    ------
    InputError
        If there is no message, or the template does not accept them.
    TextError
        If a text cannot be encoded, or a tool description holds a control token.
    SpanNotFoundError
        If the template writes a content in a way that cannot be followed.
    """
    if not messages:
        raise InputError("expected at least one message, found none; add the user's message")
    if tools:
        _check_tools(tools, tokenizer)
    if not tokenizer.chat_template:
        return _plain(messages, tools=tools)
    return _chat(messages, tokenizer, generation_prompt=generation_prompt, tools=tools)


def _chat(
    messages: Sequence[Message], tokenizer: FastTokenizer, *, generation_prompt: bool, tools: Tools | None
) -> Rendered:
    turns = turns_of(messages)
    try:
        text, landings = place(turns, tokenizer, generation_prompt=generation_prompt, tools=tools)
    except (TemplateRefusedError, ContentDroppedError):
        if not any(message.role is Role.SYSTEM for message in messages):
            raise
        text, landings = place(fold_system(turns), tokenizer, generation_prompt=generation_prompt, tools=tools)
        return Rendered(text, landings, "chat", (NOTE_NO_SYSTEM,))
    return Rendered(text, landings, "chat")


def _plain(messages: Sequence[Message], *, tools: Tools | None) -> Rendered:
    if tools:
        raise InputError("expected no tools, found some; this tokenizer has no chat template to write them with")
    text = ""
    landings: list[Landing] = []
    for number, message in enumerate(messages):
        text += "\n\n" if text else ""
        for part in (p for p in message.parts if p.text):
            landings.append(_landing(part, number, len(text)))
            text += part.text
        for call in message.tool_calls:
            text += f"{'' if not text or text.endswith(chr(10)) else chr(10)}{call.name} "
            landings.append(_landing(call, number, len(text)))
            text += call.arguments
    return Rendered(text, tuple(landings), "plain", (NOTE_PLAIN,))


def _landing(part: Any, number: int, at: int) -> Landing:
    length = len(part.text)
    return Landing(part, number, CharSpan(at, at + length), CharMap.identity(length))


def _check_tools(tools: Tools, tokenizer: FastTokenizer) -> None:
    names = control_names(tokenizer)
    for text in _strings(tools):
        forged = next((name for name in names if name in text), None)
        if forged is not None:
            raise TextError(
                f"expected tool descriptions without control tokens, found {forged!r} in {text!r:.80};"
                " it could open a turn of its own, so remove it"
            )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)
