"""The prompt the guard reads: the application's instruction as system turn, the untrusted data as user turn."""

from heed.text.encode import Encoded, encode
from heed.text.message import Message, Part, Role, Trust
from heed.text.render import render
from heed.text.span import TokenSpan
from heed.text.tokenizer import FastTokenizer

NEUTRAL_INSTRUCTION = "Say xxxxxx"
"""Stands in where the application's instruction is not known: the Attention Tracker's own stand-in."""

INSTRUCTION, DATA, QUESTION = "instruction", "data", "question"


def encode_pair(instruction: str, data: str, tokenizer: FastTokenizer, *, question: str = "") -> Encoded:
    """Render and encode one pair; both parts can be found again by name.

    ``question`` is trusted text behind the data, for the model to look back from.

    Raises
    ------
    TextError
        If a text holds a lone surrogate.
    SpanNotFoundError
        If the template writes a part in a way that cannot be followed.
    """
    system = Message.of(Role.SYSTEM, instruction, name=INSTRUCTION)
    asked = (Part("\n\n"), Part(question, name=QUESTION)) if question else ()
    user = Message(Role.USER, (Part("Data: "), Part(data, Trust.UNTRUSTED, DATA), *asked))
    return encode(render([system, user], tokenizer), tokenizer)


def parts_of(encoded: Encoded) -> tuple[TokenSpan, TokenSpan, TokenSpan, TokenSpan]:
    """The tokens before the instruction, of it, of the data, and after the data.

    What the template puts between instruction and data belongs to none of them.

    Raises
    ------
    SpanNotFoundError
        If instruction or data have no token of their own.
    """
    own, other = encoded.part(INSTRUCTION), encoded.part(DATA)
    return TokenSpan(0, own.start), own, other, TokenSpan(other.end, len(encoded))


def query_rows(encoded: Encoded) -> tuple[int, ...]:
    """The tokens behind the data to look from, counted from the end.

    The last token of the data, where the question begins and where it ends (without one: where the data ends), and the
    last two.
    """
    after = parts_of(encoded)[3]
    marks = {after.start}
    if encoded.rendered is not None and any(landing.part.name == QUESTION for landing in encoded.rendered.landings):
        asked = encoded.part(QUESTION)
        marks = {asked.start, asked.end}
    marks |= {len(encoded) - 2, len(encoded) - 1}
    seen = {after.start - 1} | {mark for mark in marks if after.start <= mark < len(encoded)}
    return tuple(sorted(mark - len(encoded) for mark in seen))


def spans_of(encoded: Encoded) -> list[TokenSpan]:
    """The tokens of instruction and data, in this order.

    Raises
    ------
    SpanNotFoundError
        If one of them has no token of its own.
    """
    return list(parts_of(encoded)[1:3])
