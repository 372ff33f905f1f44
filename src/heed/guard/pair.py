"""From a pair of instruction and data to windows that can be read, or to a verdict that says why they cannot.

Batches of windows are made here, too. How they are read and judged is not known here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter

from heed.errors import InputError, OutOfMemoryError, SpanNotFoundError, TextError, TooLongError
from heed.guard.data import MOST_CHARACTERS
from heed.guard.prompt import NEUTRAL_INSTRUCTION, encode_pair, parts_of
from heed.guard.verdict import Status, Verdict
from heed.model import Model
from heed.probe.prompt import tokenizer_of
from heed.probe.run import check_length
from heed.text.encode import Encoded
from heed.text.span import CharSpan

_MOST_PADDING = 1.2
"""Longest over shortest prompt of a batch: more padding costs more than batching saves."""

_ABSTENTIONS: dict[type[Exception], Status] = {
    TextError: "invalid_text",
    SpanNotFoundError: "span_not_found",
    TooLongError: "too_long",
    OutOfMemoryError: "out_of_memory",
}


Split = Callable[[str], tuple[CharSpan, ...]]
"""From a text to the stretches that are read."""


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
class Window:
    """A stretch of a question's data, ready to be read: its place among all questions, its prompt.

    ``span`` is where the stretch lies in the data. ``seconds`` is what rendering and encoding took.
    """

    place: int
    question: Question
    span: CharSpan
    encoded: Encoded
    seconds: float


def prepare(
    model: Model,
    place: int,
    instruction: str | None,
    data: str,
    *,
    split: Split,
    question: str = "",
    new_tokens: int = 0,
) -> list[Window] | Verdict:
    """Render and encode the windows of one pair, or abstain: from more than `MOST_CHARACTERS` before any is cut.

    Raises
    ------
    InputError
        If a text is no string, or the model has no tokenizer.
    """
    started = perf_counter()
    asked = _question(model, instruction, data)
    unread = _empty(asked) or _over_long(asked)
    if unread is not None:
        return asked.abstain(*unread, seconds=perf_counter() - started)
    found = []
    try:
        for span in split(data):
            encoded = encode_pair(asked.instruction, data[span.slice()], tokenizer_of(model), question=question)
            parts_of(encoded)
            check_length(model, [encoded], new_tokens)
            found.append((span, encoded))
    except tuple(_ABSTENTIONS) as error:
        return asked.abstain(_ABSTENTIONS[type(error)], str(error), seconds=perf_counter() - started)
    rendered = found[0][1].rendered
    if rendered is not None:
        asked = replace(asked, notes=asked.notes + rendered.notes)
    seconds = (perf_counter() - started) / len(found)
    return [Window(place, asked, span, encoded, seconds) for span, encoded in found]


def batches(windows: list[Window], budget: int) -> Iterator[list[Window]]:
    """Prompts of like length together: within ``budget`` tokens, and with little of it spent on padding."""
    batch: list[Window] = []
    for window in sorted(windows, key=lambda window: len(window.encoded)):
        length, shortest = len(window.encoded), len(batch[0].encoded) if batch else 0
        if batch and ((len(batch) + 1) * length > budget or length > shortest * _MOST_PADDING):
            yield batch
            batch = []
        batch.append(window)
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


def _over_long(question: Question) -> tuple[Status, str] | None:
    if len(question.data) <= MOST_CHARACTERS:
        return None
    found = f"{len(question.data):,}"
    return (
        "too_long",
        f"expected at most {MOST_CHARACTERS:,} characters of data, found {found}: cut it, or check it in parts",
    )
