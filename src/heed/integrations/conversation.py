"""A finished conversation as what `heed.cite` takes: a context, a question, and the answer that was given.

Messages come in as roles and texts; where each stretch of the context stands in them is remembered. Knows no library.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heed.citation.units import units_of
from heed.errors import InputError
from heed.evaluation.runs.example import BLANK_LINE, split_input
from heed.text.span import CharSpan

_CUE = re.compile(r"\s+\w{1,20}\s*:\s*\Z")
"""What only opens the answer, such as "Answer:" or "A:"."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks, and its text."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a message that is part of the context, and where it begins there."""

    message: int
    span: CharSpan
    start: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is cited: a context made of stretches of messages, a question about it, the answer."""

    context: str
    question: str
    response: str
    pieces: tuple[Piece, ...]
    units: tuple[CharSpan, ...] | None = None
    """The facts of the context, where they are named; else its sentences."""

    def place(self, span: CharSpan) -> tuple[int, CharSpan]:
        """The message that a stretch of the context stands in, by its number, and where."""
        piece = max((one for one in self.pieces if one.start <= span.start), key=lambda one: one.start)
        return piece.message, span.shift(piece.span.start - piece.start)


def conversation(
    turns: Sequence[Turn], *, context: str | Sequence[str] | None = None, question: str | None = None
) -> Conversation:
    """Take a conversation apart.

    The answer is the last turn, which is the assistant's. Without a ``context`` it is what users and tools said before,
    but for the question; without a ``question`` it is the last paragraph of the last user turn, or begins at its line
    "Question:" (see `split_prompt`).

    Parameters
    ----------
    context
        The context to the letter, or its facts in order; they must stand in one user or tool turn.
    question
        The question; it need not stand in a turn.

    Raises
    ------
    InputError
        If there is no answer, no user, no context before the question, or the named context stands in no turn.
    """
    if not turns or turns[-1].role != "assistant" or not turns[-1].text.strip():
        raise InputError("expected a conversation that ends with the assistant's answer, found none at its end")
    *before, answer = turns
    asked = max((number for number, turn in enumerate(before) if turn.role == "user"), default=None)
    if asked is None:
        raise InputError("expected a question of the user before the answer, found none")
    if context is not None:
        piece, units = find_context(before, context)
        own = before[piece.message].text
        whole = own[piece.span.slice()]
        rest = before[asked].text
        if piece.message == asked:
            rest = _beside(rest, piece.span)
        return Conversation(whole, question or rest.strip(), answer.text, (piece,), units)
    given, found = (before[asked].text, question) if question else split_prompt(before[asked].text)
    texts = {number: turn.text for number, turn in enumerate(before) if turn.role in ("user", "tool")}
    texts[asked] = given
    return _joined(texts, found, answer.text)


def split_prompt(prompt: str) -> tuple[str, str]:
    """A prompt in one piece into context and question; the context is empty where there is but one paragraph.

    The question begins at the last line that opens with "Question:", else it is the last paragraph; a cue at the end
    ("Answer:") belongs to neither.
    """
    return split_input(_CUE.sub("", prompt))


def _beside(prompt: str, span: CharSpan) -> str:
    behind = _CUE.sub("", prompt[span.end :]).strip()
    return behind or prompt[: span.start].strip()


def find_context(turns: Sequence[Turn], context: str | Sequence[str]) -> tuple[Piece, tuple[CharSpan, ...] | None]:
    """The stretch of a user's or tool's turn that is the context, and its facts where they are named one by one.

    Raises
    ------
    InputError
        If it is no text, or stands in no such turn, or the facts do not add up to the stretch they cover.
    """
    facts = [context] if isinstance(context, str) else list(context)
    if not facts or not all(isinstance(fact, str) and fact.strip() for fact in facts):
        raise InputError(f"expected a context as text or as a list of texts, found {context!r:.80}")
    for number, turn in reversed([*enumerate(turns)]):
        start = turn.text.find(facts[0]) if turn.role in ("user", "tool") else -1
        end = turn.text.find(facts[-1], start) + len(facts[-1])
        if start < 0 or end < len(facts[-1]):
            continue
        span = CharSpan(start, end)
        units = None if isinstance(context, str) else units_of(turn.text[span.slice()], facts)
        return Piece(number, span, 0), units
    raise InputError(f"expected the named context in a turn of the user or a tool, found no {facts[0][:60]!r} there")


def _joined(texts: dict[int, str], question: str, response: str) -> Conversation:
    pieces, context = [], ""
    for number, text in texts.items():
        if not text.strip():
            continue
        context += BLANK_LINE if context else ""
        pieces.append(Piece(number, CharSpan(0, len(text)), len(context)))
        context += text
    if not pieces:
        raise InputError(
            "expected a context before the question, found the question alone: name what holds the context"
        )
    return Conversation(context, question, response, tuple(pieces))
