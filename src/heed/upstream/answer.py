"""An answer as a value, and what gives one. Knows neither models nor servers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from heed.errors import InputError
from heed.text.message import Message, messages_from

Prompt = str | Sequence[Message] | Sequence[Mapping[str, Any]]
"""What is asked: one user message as a string, or messages (`Message` or OpenAI-style dicts)."""

Finish = Literal["stop", "length", "timeout"]
"""Why an answer ends: the model ended it, it reached the most tokens allowed, or the time was up."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and tokens written."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the text, who wrote it (as it names itself), and what it took.

    ``seconds`` counts from the call to the answer, retries included. ``usage`` is None where a server does not say.
    """

    text: str
    model: str
    seconds: float
    usage: Usage | None = None
    finish: Finish = "stop"

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


class Upstream(Protocol):
    """Who answers. An implementation may be called from several threads."""

    @property
    def name(self) -> str:
        """The model that is asked."""
        ...

    def answer(
        self, messages: Prompt, *, max_new_tokens: int = 512, temperature: float = 0.0, seed: int | None = None
    ) -> Answer:
        """Answer messages.

        Parameters
        ----------
        max_new_tokens
            The longest answer, in the tokens of whoever answers.
        temperature
            0: greedy. Above: sampled from the whole distribution.
        seed
            For sampling; None: another answer each time. Servers honour it as well as they can.

        Raises
        ------
        InputError
            If there is no message, or a setting is out of range.
        UpstreamError
            If no answer came.
        """
        ...


def messages_of(prompt: Prompt) -> tuple[Message, ...]:
    """The messages of a prompt.

    Raises
    ------
    InputError
        If there is none, or one has another shape.
    """
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    messages = tuple(one if isinstance(one, Message) else messages_from([one])[0] for one in prompt)
    if not messages:
        raise InputError("expected at least one message, found none: add the user's message")
    return messages


def check_settings(max_new_tokens: int, temperature: float) -> None:
    """Refuse settings that mean nothing.

    Raises
    ------
    InputError
        If ``max_new_tokens`` is below 1, or ``temperature`` is negative or not finite.
    """
    if max_new_tokens < 1:
        raise InputError(f"expected max_new_tokens of at least 1, found {max_new_tokens}")
    if not 0.0 <= temperature < float("inf"):
        raise InputError(f"expected a temperature of 0 or more, found {temperature}")
