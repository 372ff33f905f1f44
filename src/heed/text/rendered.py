"""What rendering leaves behind: the exact text, where each part landed in it, and what is control text.

Knows neither templates nor tokenizers.
"""

from dataclasses import dataclass
from typing import Literal

from heed.errors import SpanNotFoundError
from heed.text.charmap import CharMap
from heed.text.message import Part, ToolCall
from heed.text.span import CharSpan


@dataclass(frozen=True, slots=True)
class Landing:
    """Where one part (or one tool call's arguments) stands in the rendered text.

    ``message`` is the number of the caller's message it belongs to; ``charmap`` maps the part's raw
    text to the characters of ``span``, counted from ``span.start``.
    """

    part: Part | ToolCall
    message: int
    span: CharSpan
    charmap: CharMap

    def to_text(self, raw: CharSpan) -> CharSpan:
        """Where a stretch of the raw part stands in the rendered text.

        Raises
        ------
        SpanNotFoundError
            If no character of it was rendered (the template trimmed it away).
        """
        return self.charmap.to_rendered(raw).shift(self.span.start)

    def to_raw(self, span: CharSpan) -> CharSpan:
        """Which stretch of the raw part a stretch of the rendered text comes from, clipped to the part.

        Raises
        ------
        SpanNotFoundError
            If they share no character.
        """
        own = span.cut(self.span)
        if own is None:
            raise SpanNotFoundError(
                f"expected characters of part {self.part.name!r} ({self.span.start}..{self.span.end}),"
                f" found {span.start}..{span.end}; choose a stretch that touches the part"
            )
        return self.charmap.to_raw(own.shift(-self.span.start))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as text: what the model's tokenizer gets, and where each part landed.

    ``landings`` stand in the order of the text; parts without text do not land. ``template`` says
    whether a chat template wrote it or the parts were put one after the other; ``notes`` say what
    was done that the caller did not ask for.
    """

    text: str
    landings: tuple[Landing, ...]
    template: Literal["chat", "plain"]
    notes: tuple[str, ...] = ()

    @property
    def control(self) -> tuple[CharSpan, ...]:
        """The stretches that are no content: role markers, default prompts, separators."""
        edges = [0, *(edge for landing in self.landings for edge in (landing.span.start, landing.span.end))]
        pairs = zip(edges[::2], [*edges[1::2], len(self.text)], strict=True)
        return tuple(CharSpan(start, end) for start, end in pairs if start < end)

    def landing(self, name: str) -> Landing:
        """Where the part of that name landed.

        Raises
        ------
        SpanNotFoundError
            If no part or more than one of that name landed.
        """
        found = [landing for landing in self.landings if landing.part.name == name]
        if len(found) != 1:
            names = sorted({landing.part.name for landing in self.landings})
            raise SpanNotFoundError(
                f"expected one part named {name!r}, found {len(found)} among {names};"
                " give each part its own name (a part without text does not land)"
            )
        return found[0]
