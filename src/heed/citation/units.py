"""A context into facts: sentences, or the units a caller names. Characters only; no tokens, no model."""

from collections.abc import Sequence

import sentencex

from heed.errors import InputError
from heed.text.span import CharSpan


def sentences_of(text: str) -> tuple[CharSpan, ...]:
    """The sentences of a text, without the blanks around them; the end of a line ends a sentence.

    By the rules of sentencex: "1.4 mg/dL", "pH 7.44" and "Fig. 2" stay whole.
    """
    spans, start = [], 0
    for sentence in sentencex.segment("en", text):
        for line in sentence.splitlines(keepends=True):
            inner = line.strip()
            if inner:
                first = start + line.index(inner)
                spans.append(CharSpan(first, first + len(inner)))
            start += len(line)
    return tuple(spans)


def facts_of(context: str) -> tuple[CharSpan, ...]:
    """The sentences of a context that hold a letter or digit.

    Raises
    ------
    InputError
        If there is none.
    """
    found = tuple(span for span in sentences_of(context) if any(map(str.isalnum, context[span.slice()])))
    if not found:
        raise InputError(f"expected a context with at least one sentence, found {context[:60]!r}: give it some text")
    return found


def units_of(context: str, units: Sequence[str] | Sequence[CharSpan]) -> tuple[CharSpan, ...]:
    """Where the units that a caller names stand in the context, in order.

    Texts are looked for one behind the other, with nothing but blanks and punctuation between them.

    Raises
    ------
    InputError
        If there is no unit, one is empty, they overlap or leave the context, or they do not add up to it.
    """
    if not units:
        raise InputError("expected at least one unit of the context, found none")
    spans = tuple(_found(context, units))
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(context)]
    if edges != sorted(edges):
        raise InputError(f"expected units in order within the {len(context)} characters of the context, found {spans}")
    gaps = [context[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    left = next((gap for gap in gaps if any(map(str.isalnum, gap))), None)
    if left is not None:
        raise InputError(
            f"expected units that add up to the context, found {left.strip()[:60]!r} outside of them: "
            "context = separator.join(units)"
        )
    return spans


def _found(context: str, units: Sequence[str | CharSpan]) -> list[CharSpan]:
    spans: list[CharSpan] = []
    end = 0
    for number, unit in enumerate(units):
        if isinstance(unit, CharSpan):
            span = unit
        else:
            start = context.find(unit, end)
            if start < 0:
                raise InputError(
                    f"expected unit {number} in the context behind unit {number - 1}, found no {unit[:60]!r}: units "
                    "must be stretches of the context, in order"
                )
            span = CharSpan(start, start + len(unit))
        if not context[span.slice()].strip():
            raise InputError(f"expected text in unit {number}, found {context[span.slice()]!r}: leave it out")
        spans.append(span)
        end = span.end
    return spans
