"""The prompt that is read: context and question as the user's turn, the answer as the assistant's."""

from collections.abc import Sequence

from heed.citation.question import Question
from heed.citation.units import sentences_of
from heed.errors import SpanNotFoundError
from heed.text.encode import Encoded, encode
from heed.text.message import Message, Part, Role, Trust
from heed.text.render import render
from heed.text.span import CharSpan, TokenSpan
from heed.text.tokenizer import FastTokenizer

CONTEXT, QUESTION, RESPONSE = "context", "question", "response"


def encode_question(question: Question, tokenizer: FastTokenizer, part: CharSpan | None = None) -> Encoded:
    """Render and encode; the parts can be found again by name.

    ``part`` is the stretch of the context to be read, by default all of it. The answer is left out if there is none.

    Raises
    ------
    SpanNotFoundError
        If the template writes a part in a way that cannot be followed.
    """
    context = question.context if part is None else question.context[part.slice()]
    user = (Part(context, Trust.UNTRUSTED, CONTEXT), Part("\n\n"), Part(question.text, name=QUESTION))
    messages = [Message(Role.USER, user)]
    if question.response is not None:
        messages.append(Message(Role.ASSISTANT, (Part(question.response, name=RESPONSE),)))
    return encode(render(messages, tokenizer, generation_prompt=question.response is None), tokenizer)


def tokens_of(encoded: Encoded, name: str, spans: Sequence[CharSpan]) -> list[TokenSpan]:
    """The tokens of stretches of a part; a token that begins before a stretch belongs to the one before it.

    Raises
    ------
    SpanNotFoundError
        If no token begins in one of them.
    """
    assert encoded.rendered is not None
    landing = encoded.rendered.landing(name)
    found = []
    for span in spans:
        tokens = encoded.locate(landing.to_text(span))
        start = tokens.start
        while start + 1 < tokens.end and encoded.offsets[start, 0] < landing.to_text(span).start:
            start += 1
        found.append(TokenSpan(start, tokens.end))
    return found


def row_groups(encoded: Encoded, question: Question, *, response: bool) -> tuple[list[TokenSpan], list[CharSpan]]:
    """The tokens to look from: each sentence of the answer, or the question and what follows it up to the answer.

    Returns them with the stretches of the answer they stand for (none for a question).

    Raises
    ------
    SpanNotFoundError
        If the answer or the question has no token of its own.
    """
    if not response:
        asked = encoded.part(QUESTION)
        return [asked, TokenSpan(asked.end, len(encoded) if question.response is None else _answer(encoded))], []
    assert question.response is not None
    spans = sentences_of(question.response)
    return tokens_of(encoded, RESPONSE, spans), list(spans)


def _answer(encoded: Encoded) -> int:
    start = encoded.part(RESPONSE).start
    if start <= encoded.part(QUESTION).end:
        raise SpanNotFoundError("expected the template to open the assistant's turn, found nothing before the answer")
    return start
