"""What a verdict or a citation marks in its text, found again among the tokens of a trace of that text.

Comes in: a trace's labels and an evidence `Scene`. Goes out: `Grounds` for the picture, and how well each head alone
would have found the marked words.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from heed.errors import InputError
from heed.probe.view import LayerView
from heed.text.attention import Grounds
from heed.text.evidence import Passage, Scene
from heed.text.labels import Labels
from heed.text.span import TokenSpan

_BLOCK_ELEMENTS = 1 << 22


def grounds_of(labels: Labels, scene: Scene) -> Grounds:
    """Find the passages of a scene in a prompt.

    A passage lies where its text first stands in the prompt, white space around it aside: chat templates strip it.

    Raises
    ------
    InputError
        If nothing is marked, or the prompt does not hold the text of a passage with marks.
    """
    ends = np.cumsum([len(token) for token in labels.tokens])
    prompt = "".join(labels.tokens)
    found = [_place(passage, prompt, ends) for passage in scene.passages]
    if not any(mark for _, marks in found for mark in marks):
        raise InputError("expected evidence with something marked in it, found none: show the trace without it")
    return Grounds(scene, tuple(texts for texts, _ in found), tuple(marks for _, marks in found))


def recall(
    views: Sequence[LayerView], grounds: Grounds, rows: Int[np.ndarray, " q"]
) -> tuple[Float[np.ndarray, "L H"], float]:
    """How well each head alone finds what is marked most, and how well chance does.

    Counted are marks of at least half the heaviest one's weight. Of their n tokens the share that is among the n tokens
    of the passages on which the rows have most attention, summed over rows; chance is n in the number of the passages'
    tokens.
    """
    pool = _members(grounds.passages)
    marked = np.isin(pool, _members(_heavy(grounds)))
    count = int(marked.sum())
    values = []
    for view in views:
        mass = _received(view, torch.from_numpy(rows))[:, pool]
        best = np.argsort(-mass, axis=1, kind="stable")[:, :count]
        values.append(marked[best].mean(1))
    return np.stack(values), count / len(pool)


def _heavy(grounds: Grounds) -> list[TokenSpan | None]:
    spans = [span for passage in grounds.scene.passages for span in passage.evidence.spans]
    least = max(span.weight for span in spans) / 2
    places = [place for marks in grounds.marks for place in marks]
    return [place for span, place in zip(spans, places, strict=True) if span.weight >= least]


def _received(view: LayerView, rows: Int[torch.Tensor, " q"]) -> Float[np.ndarray, "H T"]:
    step = max(1, _BLOCK_ELEMENTS // (view.q.shape[1] * view.n_keys))
    blocks = (view.rows(some[None])[0].sum(1) for some in torch.split(rows, step))
    total = torch.stack(list(blocks)).sum(0).float().cpu().numpy()
    return np.pad(total, ((0, 0), (view.first_key, 0)))


def _place(
    passage: Passage, prompt: str, ends: Int[np.ndarray, " T"]
) -> tuple[TokenSpan | None, tuple[TokenSpan | None, ...]]:
    """The tokens of a passage with marks, and of each mark; None where there are none."""
    evidence = passage.evidence
    if not evidence.spans:
        return None, ()
    text = evidence.text.strip()
    at = prompt.find(text)
    if at < 0:
        raise InputError(
            f"expected a trace of the text that the evidence is about, found a prompt without its {passage.label!r}: "
            "trace the prompt that was judged"
        )
    shift = at - evidence.text.index(text)
    marks = tuple(_tokens(max(0, span.start + shift), span.end + shift, ends) for span in evidence.spans)
    return _tokens(at, at + len(text), ends), marks


def _tokens(start: int, end: int, ends: Int[np.ndarray, " T"]) -> TokenSpan | None:
    """The tokens that hold characters [start, end)."""
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(ends, end, side="left")) + 1
    return TokenSpan(first, min(last, len(ends))) if first < min(last, len(ends)) and start < end else None


def _members(spans: Sequence[TokenSpan | None]) -> Int[np.ndarray, " n"]:
    held = [np.arange(span.start, span.end) for span in spans if span is not None]
    return np.unique(np.concatenate(held)) if held else np.arange(0)
