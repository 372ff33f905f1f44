"""The prompt the guard reads: the application's instruction as system turn, the untrusted data as user turn."""

from heed.text.encode import Encoded, encode
from heed.text.message import Message, Part, Role, Trust
from heed.text.render import render
from heed.text.span import TokenSpan
from heed.text.tokenizer import FastTokenizer

NEUTRAL_INSTRUCTION = "Say xxxxxx"
"""Stands in where the application's instruction is not known: the Attention Tracker's own stand-in."""

INSTRUCTION, DATA = "instruction", "data"


def encode_pair(instruction: str, data: str, tokenizer: FastTokenizer) -> Encoded:
    """Render and encode one pair; both parts can be found again by name.

    Raises
    ------
    TextError
        If a text holds a lone surrogate.
    SpanNotFoundError
        If the template writes a part in a way that cannot be followed.
    """
    system = Message.of(Role.SYSTEM, instruction, name=INSTRUCTION)
    user = Message(Role.USER, (Part("Data: "), Part(data, Trust.UNTRUSTED, DATA)))
    return encode(render([system, user], tokenizer), tokenizer)


def spans_of(encoded: Encoded) -> list[TokenSpan]:
    """The tokens of instruction and data, in this order.

    Raises
    ------
    SpanNotFoundError
        If one of them has no token of its own.
    """
    return [encoded.part(INSTRUCTION), encoded.part(DATA)]
