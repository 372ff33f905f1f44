"""A long text as windows of whole sentences, so that one sentence is not lost among thousands. Knows no tokens.

Lengths are bytes of UTF-8: over languages they follow the number of tokens far better than characters do.
"""

from heed.text.span import CharSpan
from heed.text.split import sentences

_SCRAP = 6
"""A last window shorter than a sixth of the size joins the one before it."""


def windows(text: str, *, size: int, overlap: int = 0) -> tuple[CharSpan, ...]:
    """Stretches of whole sentences, in order, together covering the text.

    Sentences are joined up to ``size`` bytes; a longer one is cut between words, or anywhere if it has none. Blanks
    count as nothing and are never a window of their own.

    Parameters
    ----------
    size
        Most bytes of a window, before overlap; the last one may be a sixth longer.
    overlap
        Bytes of whole pieces that a window may repeat from the end of the one before.
    """
    pieces = [piece for sentence in sentences(text) for piece in _cut(text, sentence, size)]
    lengths = [len(text[piece.start : piece.end].strip().encode("utf-8", "surrogatepass")) for piece in pieces]
    groups: list[list[int]] = []
    held = 0
    for index, length in enumerate(lengths):
        if groups and (held + length <= size or not held):
            groups[-1].append(index)
            held += length
        else:
            groups.append([index])
            held = length
    if len(groups) > 1 and sum(lengths[i] for i in groups[-1]) * _SCRAP < size:
        scrap = groups.pop()
        groups[-1] += scrap
    starts = [_back(lengths, group[0], overlap) for group in groups]
    ends = [pieces[group[-1]].end for group in groups]
    return tuple(CharSpan(pieces[start].start, end) for start, end in zip(starts, ends, strict=True))


def _back(lengths: list[int], first: int, overlap: int) -> int:
    """The first of the pieces before ``first`` that together fit into ``overlap`` bytes."""
    held = 0
    while first > 0 and held + max(1, lengths[first - 1]) <= overlap:
        first -= 1
        held += lengths[first]
    return first


def _cut(text: str, span: CharSpan, size: int) -> list[CharSpan]:
    """A sentence in stretches of at most ``size`` bytes, cut after a blank in the later half where there is one."""
    found: list[CharSpan] = []
    start, held, blank = span.start, 0, -1
    for at in range(span.start, span.end):
        width = len(text[at].encode("utf-8", "surrogatepass"))
        if held + width > size and at > start:
            end = blank if blank > start + (at - start) // 2 else at
            found.append(CharSpan(start, end))
            held = len(text[end:at].encode("utf-8", "surrogatepass"))
            start = end
        held += width
        if text[at].isspace():
            blank = at + 1
    found.append(CharSpan(start, span.end))
    return found
