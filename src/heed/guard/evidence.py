"""Which words of the data raised the risk: token weights in, weighted spans of the data out."""

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


def word_spans(
    encoded: Encoded, tokens: TokenSpan, weights: Float[np.ndarray, " T"], data: str, *, part: str
) -> tuple[WeightedSpan, ...]:
    """The heaviest words of the data, heaviest first, neighbours joined.

    ``weights`` is what each of ``tokens`` adds to the risk; a span's weight is its share of their sum. Punctuation and
    white space count in the sum but are never named.
    """
    total = float(weights.sum())
    if not total > 0:
        return ()
    shares = _shares_of_words(encoded, tokens, weights / total, data, part=part)
    heaviest = sorted(shares, key=lambda item: -item[1])
    chosen, held = [], 0.0
    for span, share in heaviest[:MOST_SPANS]:
        if held >= ENOUGH or share < SLIGHT:
            break
        chosen.append((span, share))
        held += share
    return tuple(sorted(_joined(chosen, data), key=lambda span: -span.weight))


def _shares_of_words(
    encoded: Encoded, tokens: TokenSpan, shares: Float[np.ndarray, " T"], data: str, *, part: str
) -> list[tuple[CharSpan, float]]:
    """Each word's share: a token gives to the word its last letter lies in."""
    found = list(words(data))
    if not found:
        return []
    starts = np.array([word.start for word in found])
    ends = np.array([word.end for word in found])
    held = np.zeros(len(found))
    for index in range(len(tokens)):
        try:
            place = encoded.to_part(part, tokens.start + index)
        except SpanNotFoundError:  # a token the tokenizer added stands for no letter: its attention names no word
            continue
        word = int(np.searchsorted(starts, place.end - 1, side="right")) - 1
        if word >= 0 and ends[word] > place.start:
            held[word] += shares[index]
    return list(zip(found, held.tolist(), strict=True))


def _joined(chosen: list[tuple[CharSpan, float]], data: str) -> list[WeightedSpan]:
    """Neighbours with nothing but space between them become one span."""
    spans: list[WeightedSpan] = []
    for span, share in sorted(chosen):
        if spans and not data[spans[-1].end : span.start].strip():
            before = spans.pop()
            span, share = CharSpan(before.start, span.end), before.weight + share  # noqa: PLW2901
        spans.append(WeightedSpan(span, min(1.0, share)))
    return spans
