"""Text in, token ids out, with the way back: every span of characters found again as a span of tokens.

Offsets come from the whole text encoded once; no part is ever tokenised alone. Control text becomes
control tokens, contents never do. Knows no model.
"""

from dataclasses import dataclass

import numpy as np

from heed.errors import SpanNotFoundError
from heed.text.control import twin_of
from heed.text.message import check_text
from heed.text.rendered import Landing, Rendered
from heed.text.span import CharSpan, TokenSpan
from heed.text.tokenizer import FastTokenizer


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A prompt as the model reads it.

    ``ids`` is ``[T]`` and ``offsets`` is ``[T, 2]``, both int64; a token's offsets are the characters
    of ``text`` it stands for. Tokens that spell one character in bytes share its offsets; tokens the
    tokenizer adds of itself stand for none (start equals end). ``rendered`` is None for raw text.
    """

    ids: np.ndarray
    offsets: np.ndarray
    text: str
    rendered: Rendered | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def locate(self, span: CharSpan) -> TokenSpan:
        """Every token that stands for at least one character of the span.

        Raises
        ------
        SpanNotFoundError
            If there is none.
        """
        starts, ends = self.offsets[:, 0], self.offsets[:, 1]
        inside = np.flatnonzero((starts < span.end) & (ends > span.start) & (starts < ends))
        if not (span and len(inside)):
            raise SpanNotFoundError(
                f"expected tokens for characters {span.start}..{span.end} of a text of {len(self.text)}, found none"
                f" ({self.text[span.slice()]!r:.40}); choose a stretch with characters the tokenizer keeps"
            )
        return TokenSpan(int(inside[0]), int(inside[-1]) + 1)

    def char_span(self, token: int) -> CharSpan:
        """The characters a token stands for; empty for one that the tokenizer added."""
        start, end = self.offsets[token]
        return CharSpan(int(start), int(end))

    def part(self, name: str) -> TokenSpan:
        """The tokens of the part of that name.

        Raises
        ------
        SpanNotFoundError
            If there is no such part, more than one, or no token stands for it.
        """
        return self.locate(self._landing(name).span)

    def to_part(self, name: str, where: TokenSpan | int) -> CharSpan:
        """The characters of the caller's raw part that a token or a span of tokens stands for, clipped to the part.

        Raises
        ------
        SpanNotFoundError
            If there is no such part, or the tokens stand for none of its characters.
        """
        tokens = where if isinstance(where, TokenSpan) else TokenSpan(where, where + 1)
        rows = self.offsets[tokens.slice()]
        rows = rows[rows[:, 0] < rows[:, 1]]
        if not len(rows):
            raise SpanNotFoundError(
                f"expected tokens that stand for characters, found {tokens.start}..{tokens.end} of {len(self)},"
                " which stand for none; choose tokens of the part"
            )
        return self._landing(name).to_raw(CharSpan(int(rows[:, 0].min()), int(rows[:, 1].max())))

    def _landing(self, name: str) -> Landing:
        if self.rendered is None:
            raise SpanNotFoundError(f"expected a prompt made of parts, found raw text; no part named {name!r} in it")
        return self.rendered.landing(name)


def encode(rendered: Rendered, tokenizer: FastTokenizer) -> Encoded:
    """Encode a rendered prompt; a control token's name in a content stays text.

    A chat template writes its own opening token, so none is added; plain text gets what the
    tokenizer adds. Where no content holds a control token's name, the ids are exactly the tokenizer's.

    Raises
    ------
    InputError
        If the tokenizer is not a fast one, or its control tokens cannot be told from text.
    TextError
        If the text cannot be encoded.
    """
    text = check_text(rendered.text, where="the rendered prompt")
    twin = twin_of(tokenizer, text)
    ids, offsets = twin.encode(text, rendered.control, add_special_tokens=rendered.template == "plain")
    return Encoded(ids, offsets, text, rendered)


def encode_text(text: str, tokenizer: FastTokenizer) -> Encoded:
    """Encode raw, trusted text just as the tokenizer does, control tokens and added tokens included.

    Raises
    ------
    InputError
        If the tokenizer is not a fast one, or its control tokens cannot be told from text.
    TextError
        If the text holds a lone surrogate.
    """
    check_text(text, where="the text")
    twin = twin_of(tokenizer, text)
    ids, offsets = twin.encode(text, [CharSpan(0, len(text))], add_special_tokens=True)
    return Encoded(ids, offsets, text)
