"""Which words of the data raised the risk: token weights in, weighted spans of the data out."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from heed.errors import SpanNotFoundError
from heed.text.encode import Encoded
from heed.text.evidence import WeightedSpan
from heed.text.span import CharSpan, TokenSpan
from heed.text.split import words

MOST_SPANS = 8
ENOUGH = 0.8
"""Words are named until they hold this share of what raised the risk, or `MOST_SPANS` are."""
SLIGHT = 0.005
"""A word with less than this share is not named."""


Share = tuple[CharSpan, float]


def word_weights(
    encoded: Encoded, tokens: TokenSpan, weights: Float[np.ndarray, " T"], data: str, *, part: str
) -> list[Share]:
    """Each word of a part with what its tokens added; a token gives to the word its last letter lies in.

    What punctuation and white space added falls to the word before them, at the start to the first: no word is named
    for it, but it belongs to a sentence.
    """
    found = list(words(data)) or [CharSpan(0, len(data))]
    starts = np.array([word.start for word in found])
    held = np.zeros(len(found))
    for index in range(len(tokens)):
        try:
            place = encoded.to_part(part, tokens.start + index)
        except SpanNotFoundError:  # a token the tokenizer added stands for no letter: its attention names no word
            continue
        held[max(0, int(np.searchsorted(starts, place.end - 1, side="right")) - 1)] += weights[index]
    return list(zip(found, held.tolist(), strict=True))


def marks(shares: Sequence[Share], data: str) -> tuple[WeightedSpan, ...]:
    """The heaviest words, heaviest first, neighbours joined; a span's weight is its share of the sum of all."""
    total = sum(weight for _, weight in shares)
    if not total > 0:
        return ()
    chosen, held = [], 0.0
    for span, weight in sorted(shares, key=lambda item: -item[1])[:MOST_SPANS]:
        if held >= ENOUGH or weight / total < SLIGHT:
            break
        chosen.append((span, weight / total))
        held += weight / total
    return tuple(sorted(_joined(chosen, data), key=lambda span: -span.weight))


def _joined(chosen: list[Share], data: str) -> list[WeightedSpan]:
    """Neighbours with nothing but space between them become one span."""
    spans: list[WeightedSpan] = []
    for span, share in sorted(chosen):
        if spans and not data[spans[-1].end : span.start].strip():
            before = spans.pop()
            span, share = CharSpan(before.start, span.end), before.weight + share  # noqa: PLW2901
        spans.append(WeightedSpan(span, min(1.0, share)))
    return spans
