"""The attention of an answer as arrays: rows of the answer's tokens on the context's, from one pass over both.

In: a model, a prompt and its answer. Out: numpy, small enough for the budget of an example. Knows no files.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from heed.citation.prompt import CONTEXT, RESPONSE, encode_question
from heed.citation.question import Question
from heed.errors import InputError, UnsupportedModelError
from heed.model import Model
from heed.probe import LayerKey, PrefixCache, read
from heed.probe.answer_rows import AnswerRows
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.probe.view import usual
from heed.text.encode import Encoded
from heed.text.span import CharSpan, TokenSpan

BUDGET = 6 << 20
"""Bytes of each of the two arrays of an example, about: beyond it only the heaviest weights of each row are kept."""
LAYER_FRACTION = 0.25
"""The last layers, whose mean over heads is the published reading (arXiv 2503.09819, equation 4)."""
_WEIGHT, _PLACE = 2, 4
"""Bytes of a float16 weight, and of an int32 place beside it."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Attention weights in [0, 1] as float16, the last axis the C tokens of the context.

    Sparse where ``places`` is there: the K heaviest weights of each row, heaviest first, and their places.
    """

    values: Float[np.ndarray, "... R K"]
    places: Int[np.ndarray, "... R K"] | None

    @property
    def sparse(self) -> bool:
        """Whether lighter weights were left out."""
        return self.places is not None


@dataclass(frozen=True, slots=True, eq=False)
class AnswerAttention:
    """How the R tokens of an answer attend to the C tokens of its context."""

    layers: tuple[int, ...]
    """First, middle and last layer that attends (fewer in a model of fewer)."""
    essential: Weights
    """``[L, H, R, K]``: those layers, every head."""
    averaged_layers: tuple[int, ...]
    averaged: Weights
    """``[R, K]``: mean over the last quarter of layers and all heads."""
    response_offsets: Int[np.ndarray, "R 2"]
    """Characters of the answer that each row stands for."""
    context_offsets: Int[np.ndarray, "C 2"]
    """Characters of the context that each column stands for."""
    response_ids: Int[np.ndarray, " R"]
    context_ids: Int[np.ndarray, " C"]
    seconds: float


def read_rows(
    model: Model, question: Question, *, skip: int = 0, budget: int = BUDGET, prefix: PrefixCache | None = None
) -> AnswerAttention:
    """Read the answer's rows on the context, teacher-forced.

    ``skip`` characters at the start of the context are left out, and offsets count from there; ``budget`` are bytes;
    what ``prefix`` holds of the prompt is not computed again.

    Raises
    ------
    InputError
        If there is no answer, or attention is not finite.
    TooLongError
        If prompt and answer do not fit the model's context.
    """
    if question.response is None:
        raise InputError("expected a response whose rows are read, found none")
    encoded = encode_question(question, tokenizer_of(model))
    assert encoded.rendered is not None
    own = encoded.rendered.landing(CONTEXT).to_text(CharSpan(skip, len(question.context)))
    rows, keys = encoded.part(RESPONSE), encoded.locate(own)
    layers, last = _layers(model)
    keep = _keep(len(layers) * model.anatomy.heads * len(rows), len(keys), budget)
    tail = len(encoded) - rows.start
    probes = {
        "essential": AnswerRows(frozenset(layers), rows, keys, keep=keep, last_rows=tail),
        "averaged": AnswerRows(frozenset(last), rows, keys, heads=False, last_rows=tail),
    }
    reading = read(model, [encoded], probes, layers=sorted({*layers, *last}), prefix=prefix)
    heard = reading.steps[0]
    every = np.stack([heard["essential"][key][0] for key in layers])
    mean = np.mean([heard["averaged"][key][0, 0] for key in last], 0)
    if not (reading.finite.all() and np.isfinite(every).all() and np.isfinite(mean).all()):
        raise InputError(f"expected finite attention of {model.name}, found NaN or infinity: its weights overflow")
    return AnswerAttention(
        layers=tuple(key.index for key in layers),
        essential=_halves(every) if keep is None else _halves(every[:, 0], every[:, 1]),
        averaged_layers=tuple(key.index for key in last),
        averaged=_heaviest(mean, _keep(len(rows), len(keys), budget)),
        response_offsets=_offsets(encoded, RESPONSE, rows),
        context_offsets=(_offsets(encoded, CONTEXT, keys) - skip).clip(0),
        response_ids=encoded.ids[rows.slice()].astype(np.int32),
        context_ids=encoded.ids[keys.slice()].astype(np.int32),
        seconds=reading.seconds,
    )


def _layers(model: Model) -> tuple[list[LayerKey], list[LayerKey]]:
    """First, middle and last layer; and the last quarter of them."""
    keys = usual(layers_of(model).keys)
    if keys[0].kind == "cross":
        raise UnsupportedModelError(
            f"expected a decoder whose answer attends to its own prompt, found {model.name}, which has an encoder"
        )
    count = max(1, round(LAYER_FRACTION * len(keys)))
    return sorted({keys[0], keys[len(keys) // 2], keys[-1]}), sorted(keys[-count:])


def _keep(rows: int, keys: int, budget: int) -> int | None:
    """How many weights of each row to keep; None where all of them fit the budget."""
    if rows * keys * _WEIGHT <= budget:
        return None
    return max(1, min(keys, budget // (rows * (_WEIGHT + _PLACE))))


def _heaviest(weights: Float[np.ndarray, "R C"], keep: int | None) -> Weights:
    if keep is None:
        return _halves(weights)
    places = np.argsort(-weights, axis=-1, kind="stable")[..., :keep]
    return _halves(np.take_along_axis(weights, places, -1), places)


def _halves(values: np.ndarray, places: np.ndarray | None = None) -> Weights:
    return Weights(values.astype(np.float16), None if places is None else places.astype(np.int32))


def _offsets(encoded: Encoded, part: str, tokens: TokenSpan) -> Int[np.ndarray, "N 2"]:
    """The characters of the raw part that each token stands for."""
    spans = [encoded.to_part(part, token) for token in range(tokens.start, tokens.end)]
    return np.array([(span.start, span.end) for span in spans], dtype=np.int32).reshape(-1, 2)
