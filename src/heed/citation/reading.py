"""One forward pass over context, question and answer: how much every head of every row group puts on every fact."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from heed.citation.prompt import CONTEXT, encode_question, row_groups, tokens_of
from heed.citation.question import Question
from heed.errors import InputError, TooLongError
from heed.model import Model
from heed.probe import GroupMass, PrefixCache, read
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.text.encode import Encoded
from heed.text.span import CharSpan, TokenSpan


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Attention of groups of rows on facts, in [0, 1].

    ``mass`` is ``[G, L, H, U]``: the mean over the rows of a group of what they put on a fact. For answers a group is
    a sentence, ``sentences`` says where it stands; for questions the groups are the question and what follows it.
    """

    mass: Float[np.ndarray, "G L H U"]
    context: Float[np.ndarray, "G L H"]
    """On the whole context."""
    rows: Int[np.ndarray, " G"]
    """How many tokens a group has."""
    tokens: Int[np.ndarray, " U"]
    """How many tokens a fact has."""
    sentences: tuple[CharSpan, ...]
    windows: int

    @property
    def whole(self) -> Float[np.ndarray, "L H U"]:
        """Of all rows together."""
        return np.asarray(np.average(self.mass, axis=0, weights=self.rows))

    @property
    def context_mass(self) -> float:
        """The share of all rows' attention that reached the context, mean over layers and heads."""
        return float(np.average(self.context.mean((1, 2)), weights=self.rows))


def hear(
    model: Model, question: Question, *, response: bool, depth: int | None = None, prefix: PrefixCache | None = None
) -> Heard:
    """Read the prompt once, or once for each stretch of the context if it does not fit the model's window.

    Parameters
    ----------
    response
        Look from the answer's tokens; else from the question's, with no answer in the prompt.
    depth
        Layers to run; by default all.
    prefix
        What it holds of the prompt's beginning is not computed again.

    Raises
    ------
    InputError
        If it is to look from an answer and there is none, or attention is not finite.
    TooLongError
        If the question, the answer and one fact do not fit the model's window.
    """
    return hear_all(model, [question], response=response, depth=depth, prefix=prefix)[0]


def hear_all(
    model: Model,
    questions: Sequence[Question],
    *,
    response: bool,
    depth: int | None = None,
    prefix: PrefixCache | None = None,
) -> list[Heard]:
    """The same for several questions (or answers) about one context, whose tokens are computed once; see `hear`."""
    if response and any(question.response is None for question in questions):
        raise InputError("expected a response to look from, found none: give one, generate one, or rows='question'")
    asked = [q if response else Question(q.text, q.context, q.units) for q in questions]
    longest = max(asked, key=lambda question: len(question.text) + len(question.response or ""))
    parts = stretches(model, longest)
    heard = [_hear(model, asked, part, response=response, depth=depth, prefix=prefix) for part in parts]
    return [_joined(own) for own in zip(*heard, strict=True)]


def _joined(parts: Sequence[Heard]) -> Heard:
    return replace(
        parts[0],
        mass=np.concatenate([one.mass for one in parts], -1),
        context=np.mean([one.context for one in parts], 0),
        tokens=np.concatenate([one.tokens for one in parts]),
        windows=len(parts),
    )


def stretches(model: Model, question: Question) -> list[tuple[int, int]]:
    """The facts in runs ``[first, stop)`` whose context fits the model's window, as few and as even as can be.

    Raises
    ------
    TooLongError
        If one fact alone does not fit.
    """
    count = len(question.units)
    for runs in range(1, count + 1):
        edges = np.linspace(0, count, runs + 1).round().astype(int).tolist()
        found = list(pairwise(edges))
        if all(_fits(model, question, run) for run in found):
            return found
    raise TooLongError(
        f"expected question, answer and one fact within {model.context} tokens (the context of {model.name}), found "
        "more: shorten the question, the answer or the units"
    )


def encode_run(model: Model, question: Question, run: tuple[int, int]) -> tuple[Encoded, list[TokenSpan]]:
    """The prompt with a run of facts as its context, and the tokens of these facts."""
    part = _part(question, run)
    encoded = encode_question(question, tokenizer_of(model), part)
    own = question.units[run[0] : run[1]]
    return encoded, tokens_of(encoded, CONTEXT, [span.shift(-part.start) for span in own])


def _part(question: Question, run: tuple[int, int]) -> CharSpan:
    """The stretch of the context that holds a run: up to the next fact, or to the context's ends."""
    first, stop = run
    end = question.units[stop].start if stop < len(question.units) else len(question.context)
    return CharSpan(question.units[first].start if first else 0, end)


def _fits(model: Model, question: Question, run: tuple[int, int]) -> bool:
    if model.context is None:
        return True
    return len(encode_question(question, tokenizer_of(model), _part(question, run))) <= model.context


def _hear(
    model: Model,
    questions: Sequence[Question],
    run: tuple[int, int],
    *,
    response: bool,
    depth: int | None,
    prefix: PrefixCache | None,
) -> list[Heard]:
    """One pass over prompts that share context and facts."""
    prompts, facts = zip(*(encode_run(model, question, run) for question in questions), strict=True)
    looks = [row_groups(*pair, response=response) for pair in zip(prompts, questions, strict=True)]
    count = len(looks[0][0])
    rows = max(map(len, prompts)) - min(groups[0].start for groups, _ in looks)
    spans = [
        [prompt.part(CONTEXT), *own, *groups] for prompt, own, (groups, _) in zip(prompts, facts, looks, strict=True)
    ]
    layers = [key for key in layers_of(model).keys if depth is None or key.index < depth]
    if prefix is None and len(prompts) > 1:
        prefix = PrefixCache(size=1, longest=max(map(len, prompts)))
    reading = read(model, prompts, {"mass": GroupMass(count, rows)}, layers=layers, spans=spans, prefix=prefix)
    mass = reading.stack("mass").transpose(0, 3, 1, 2, 4)[..., :-count]  # B L H G S -> B G L H S
    if not reading.finite.all() or not np.isfinite(mass).all():
        raise InputError(f"expected finite attention of {model.name}, found NaN or infinity: its weights overflow")
    return [
        Heard(mass[item, ..., 1:], mass[item, ..., 0], _sizes(groups), _sizes(facts[item]), tuple(sentences), 1)
        for item, (groups, sentences) in enumerate(looks)
    ]


def _sizes(spans: Sequence[TokenSpan]) -> Int[np.ndarray, " N"]:
    return np.array([len(span) for span in spans])
