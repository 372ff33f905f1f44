"""Which words of the data raised the risk: token weights in, weighted spans of the data out."""

from collections.abc import Sequence
from typing import NamedTuple

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


class Share(NamedTuple):
    """A word, what its own tokens added, and what they and all behind it up to the next word added.

    Punctuation and white space name no word, but they belong to its sentence.
    """

    span: CharSpan
    own: float
    whole: float


def word_weights(
    encoded: Encoded, tokens: TokenSpan, weights: Float[np.ndarray, " T"], data: str, *, part: str
) -> list[Share]:
    """What each word of a part added; a token gives to the word its last letter lies in.

    What stands before the first word counts to it; a text without words is one share, from its first letter on.
    """
    named = list(words(data))
    found = named or [CharSpan(len(data) - len(data.lstrip()), len(data))]
    starts, ends = np.array([word.start for word in found]), np.array([word.end for word in found])
    own, whole = np.zeros(len(found)), np.zeros(len(found))
    for index in range(len(tokens)):
        try:
            place = encoded.to_part(part, tokens.start + index)
        except SpanNotFoundError:  # a token the tokenizer added stands for no letter: its attention names no word
            continue
        word = max(0, int(np.searchsorted(starts, place.end - 1, side="right")) - 1)
        whole[word] += weights[index]
        if named and starts[word] < place.end and place.start < ends[word]:
            own[word] += weights[index]
    return list(map(Share, found, own.tolist(), whole.tolist()))


def marks(shares: Sequence[Share], data: str) -> tuple[WeightedSpan, ...]:
    """The heaviest words, heaviest first, neighbours joined; a span's weight is its share of the sum of all."""
    total = sum(share.whole for share in shares)
    if not total > 0:
        return ()
    chosen, held = [], 0.0
    for share in sorted(shares, key=lambda share: -share.own)[:MOST_SPANS]:
        if held >= ENOUGH or share.own / total < SLIGHT:
            break
        chosen.append((share.span, share.own / total))
        held += share.own / total
    return tuple(sorted(_joined(chosen, data), key=lambda span: -span.weight))


def _joined(chosen: list[tuple[CharSpan, float]], data: str) -> list[WeightedSpan]:
    """Neighbours with nothing but space between them become one span."""
    spans: list[WeightedSpan] = []
    for span, share in sorted(chosen):
        if spans and not data[spans[-1].end : span.start].strip():
            before = spans.pop()
            span, share = CharSpan(before.start, span.end), before.weight + share  # noqa: PLW2901
        spans.append(WeightedSpan(span, min(1.0, share)))
    return spans
