"""ATTRIEVAL as a method of citation: one pass for the rows of attention, two more where retriever tokens are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from heed.citation.attention import Rows, looks_from
from heed.citation.attrieval import Sink, check_settings, sift
from heed.citation.generate import generate
from heed.citation.prompt import CONTEXT, row_groups
from heed.citation.question import Question
from heed.citation.reading import encode_run, stretches
from heed.citation.retriever import Short, retriever_rows
from heed.citation.scores import Scores, ranked
from heed.errors import InputError
from heed.model import Model
from heed.probe import LayerKey, MeanRows, Reading, read
from heed.probe.layers import layers_of
from heed.probe.view import usual
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

FACTS = 10
"""Most facts that the paper retrieves, and that stay in the short prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Attention of an answer (or a question) on the tokens of one stretch of the context.

    ``rows`` is ``[Q, N]`` (equation 4), ``facts`` count among the N tokens, ``groups`` (one for each sentence of an
    answer) among the Q rows; ``where`` is the prompt and the tokens of the rows in it; ``mass`` is the share of
    attention that reached the context, in [0, 1].
    """

    rows: Float[np.ndarray, "Q N"]
    where: tuple[Encoded, TokenSpan]
    facts: tuple[TokenSpan, ...]
    groups: tuple[TokenSpan, ...]
    mass: float

    @classmethod
    def of(
        cls,
        probe: MeanRows,
        reading: Reading,
        where: tuple[Encoded, TokenSpan],
        facts: Sequence[TokenSpan],
        groups: Sequence[TokenSpan],
    ) -> "Looked":
        """What a probe kept in a read; facts and groups count tokens of the prompt.

        Raises
        ------
        InputError
            If attention is not finite.
        """
        rows = probe.mean()
        if not reading.finite.all() or not np.isfinite(rows).all():
            raise InputError("expected finite attention, found NaN or infinity: the model's weights overflow")
        own = tuple(fact.shift(-probe.keys.start) for fact in facts)
        return cls(rows, where, own, tuple(group.shift(-where[1].start) for group in groups), float(rows.sum(1).mean()))


@dataclass(frozen=True, slots=True)
class Settings:
    """How ATTRIEVAL ranks; the defaults are the paper's but for ``top_k`` and ``sink``.

    Raises
    ------
    InputError
        If a setting is out of its range.
    """

    layer_fraction: float = 0.25
    """Share of layers, from the last, whose attention is averaged; in (0, 1]."""
    top_k: int = 10
    threshold: float = 0.99
    sink: Sink = "token"
    """How attention sinks are found and what is set aside; see `heed.citation.attrieval.sift`."""
    retriever: Short | None = None
    """Score by the rows of retriever tokens alone, told by a short prompt with the ``question`` only or with the best
    ten ``facts``; None: all rows count."""
    n_retriever: int = 10
    """How many such tokens."""

    def __post_init__(self) -> None:
        check_settings(top_k=self.top_k, threshold=self.threshold, sink=self.sink)
        if not 0.0 < self.layer_fraction <= 1.0:
            raise InputError(f"expected a share of layers in (0, 1], found {self.layer_fraction}")
        if self.retriever not in (None, "question", "facts") or self.n_retriever < 1:
            raise InputError(
                "expected retriever 'question' or 'facts' and at least one token, found "
                f"{self.retriever!r} and {self.n_retriever}"
            )


def attrieval_method(
    model: Model,
    *,
    rows: Rows | None = None,
    layer_fraction: float = 0.25,
    top_k: int = 10,
    threshold: float = 0.99,
    sink: Sink = "token",
    retriever: Short | None = None,
    n_retriever: int = 10,
) -> "AttrievalMethod":
    """Rank facts by the attention of the answer's tokens (of the question's, where there is no answer).

    Parameters
    ----------
    rows
        ``response`` or ``question``: whose tokens; by default the answer's if there is one.
    layer_fraction, top_k, threshold, sink, retriever, n_retriever
        See `Settings`.

    Raises
    ------
    InputError
        If a setting is out of its range.
    """
    return AttrievalMethod(model, Settings(layer_fraction, top_k, threshold, sink, retriever, n_retriever), rows)


@dataclass(frozen=True, slots=True, eq=False)
class AttrievalMethod:
    """ATTRIEVAL on a finished prompt, or on an answer as it comes about."""

    model: Model
    settings: Settings
    rows: Rows | None = None

    def __call__(self, question: Question) -> Scores:
        """One pass over the prompt, two more with a retriever."""
        response = looks_from(question, self.rows)
        if self.settings.retriever is not None and not response:
            raise InputError("expected a response for retriever tokens, found none: give one, or retriever=None")
        asked = question if response else replace(question, response=None)
        layers = last_layers(self.model, self.settings.layer_fraction)
        looks = [_look(self.model, asked, run, layers, response=response) for run in stretches(self.model, asked)]
        return _scores(self.model, asked, looks, self.settings)

    def answer(self, question: Question, max_new_tokens: int) -> tuple[Question, Scores]:
        """Let the model answer, and score what its tokens look at as it does: no pass over the finished answer.

        Raises
        ------
        InputError
            If the model answers nothing, or attention is not finite.
        TooLongError
            If prompt and answer do not fit the model's window.
        """
        prompt, facts = encode_run(self.model, replace(question, response=None), (0, len(question.units)))
        probe, layers = MeanRows(prompt.part(CONTEXT)), last_layers(self.model, self.settings.layer_fraction)
        made = generate(self.model, prompt, {"reached": probe}, layers=layers, max_new_tokens=max_new_tokens)
        answered = replace(question, response=made.response)
        groups, _ = row_groups(made.prompt, answered, response=True)
        span = TokenSpan(len(prompt), len(made.prompt))
        looked = Looked.of(probe, made.reading, (made.prompt, span), facts, groups)
        return answered, _scores(self.model, answered, [looked], self.settings)


def last_layers(model: Model, fraction: float) -> tuple[LayerKey, ...]:
    """The last share of layers, rounded to the nearest number and at least one."""
    layers = usual(layers_of(model).keys)
    return layers[-max(1, int(len(layers) * fraction + 0.5)) :]


def _look(
    model: Model, question: Question, run: tuple[int, int], layers: Sequence[LayerKey], *, response: bool
) -> Looked:
    """One pass over the prompt of a run of facts."""
    prompt, facts = encode_run(model, question, run)
    groups, sentences = row_groups(prompt, question, response=response)
    span = TokenSpan(groups[0].start, groups[-1].end) if response else groups[0]
    probe = MeanRows(prompt.part(CONTEXT), span)
    reading = read(model, [prompt], {"reached": probe}, layers=layers)
    return Looked.of(probe, reading, (prompt, span), facts, groups[: len(sentences)])


def _scores(model: Model, question: Question, looks: Sequence[Looked], settings: Settings) -> Scores:
    """The facts of all stretches side by side, in the order of the context."""
    values: list[np.ndarray] = []
    frequencies, sentences = [], []
    for looked in looks:
        found = sift(looked.rows, looked.facts, top_k=settings.top_k, threshold=settings.threshold, sink=settings.sink)
        rows = looked.rows
        if settings.retriever is not None:
            first = sum(len(part) for part in values)
            best = sorted(ranked(found.scores(rows))[:FACTS]) if settings.retriever == "facts" else []
            kept = [question.facts[first + fact] for fact in best]
            rows = rows[retriever_rows(model, question, *looked.where, facts=kept, n=settings.n_retriever)]
        values.append(found.scores(rows))
        frequencies.append(found.frequency)
        sentences.append([found.scores(looked.rows[group.slice()]) for group in looked.groups])
    return Scores(
        values=np.concatenate(values),
        passes=len(looks) * (1 if settings.retriever is None else 3),
        frequency=np.concatenate(frequencies),
        sentences=np.concatenate(sentences, 1) if looks[0].groups else None,
        context_mass=float(np.mean([looked.mass for looked in looks])),
        windows=len(looks),
    )
