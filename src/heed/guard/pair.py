"""From a pair of instruction and data to a prompt that can be read, or to a verdict that says why it cannot.

Batches of such prompts are made here, too. How they are read and judged is not known here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

from heed.errors import InputError, OutOfMemoryError, SpanNotFoundError, TextError, TooLongError
from heed.guard.prompt import NEUTRAL_INSTRUCTION, encode_pair, spans_of
from heed.guard.verdict import Status, Verdict
from heed.model import Model
from heed.probe.prompt import tokenizer_of
from heed.probe.run import check_length
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

_MOST_PADDING = 1.2
"""Longest over shortest prompt of a batch: more padding costs more than batching saves."""

_ABSTENTIONS: dict[type[Exception], Status] = {
    TextError: "invalid_text",
    SpanNotFoundError: "span_not_found",
    TooLongError: "too_long",
    OutOfMemoryError: "out_of_memory",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What the guard was asked.

    ``given`` is whether the caller knew the instruction; otherwise ``instruction`` is the neutral one.
    """

    instruction: str
    data: str
    given: bool
    model: str
    notes: tuple[str, ...] = ()

    def abstain(self, status: Status, reason: str, *, seconds: float) -> Verdict:
        """The verdict that there is none."""
        return Verdict(
            status=status,
            reason=reason,
            seconds=seconds,
            instruction=self.instruction,
            data=self.data,
            model=self.model,
            notes=self.notes,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A question ready to be read: its place among all, its prompt, and where instruction and data lie in it.

    ``seconds`` is what rendering and encoding took.
    """

    place: int
    question: Question
    encoded: Encoded
    spans: list[TokenSpan]
    seconds: float


def prepare(model: Model, place: int, instruction: str | None, data: str, *, new_tokens: int) -> Pair | Verdict:
    """Render and encode one pair, or abstain.

    Raises
    ------
    InputError
        If a text is no string, or the model has no tokenizer.
    """
    started = perf_counter()
    question = _question(model, instruction, data)
    empty = _empty(question)
    if empty is not None:
        return question.abstain(*empty, seconds=perf_counter() - started)
    try:
        encoded = encode_pair(question.instruction, data, tokenizer_of(model))
        spans = spans_of(encoded)
        check_length(model, [encoded], new_tokens)
    except tuple(_ABSTENTIONS) as error:
        return question.abstain(_ABSTENTIONS[type(error)], str(error), seconds=perf_counter() - started)
    if encoded.rendered is not None:
        question = replace(question, notes=question.notes + encoded.rendered.notes)
    return Pair(place, question, encoded, spans, perf_counter() - started)


def batches(pairs: list[Pair], budget: int) -> Iterator[list[Pair]]:
    """Prompts of like length together: within ``budget`` tokens, and with little of it spent on padding."""
    batch: list[Pair] = []
    for pair in sorted(pairs, key=lambda pair: len(pair.encoded)):
        length, shortest = len(pair.encoded), len(batch[0].encoded) if batch else 0
        if batch and ((len(batch) + 1) * length > budget or length > shortest * _MOST_PADDING):
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch


def _question(model: Model, instruction: str | None, data: str) -> Question:
    given = instruction is not None
    own = NEUTRAL_INSTRUCTION if instruction is None else instruction
    for text, name in ((own, "instruction"), (data, "data")):
        if not isinstance(text, str):
            raise InputError(f"expected {name} as a string, found {type(text).__name__}")
    stands_in = f"no instruction given: the neutral {NEUTRAL_INSTRUCTION!r} stands in"
    return Question(own, data, given, model.name, () if given else (stands_in,))


def _empty(question: Question) -> tuple[Status, str] | None:
    texts: tuple[tuple[str, str, Status], ...] = (
        (question.instruction, "instruction", "empty_instruction"),
        (question.data, "data", "empty_data"),
    )
    for text, name, status in texts:
        if not text.strip():
            return status, f"expected some {name}, found {'only white space' if text else 'none'}"
    return None
