"""`heed.cite`: context and question in, facts with their places out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from heed.citation.attention import HeardMethod, Rows, looks_from
from heed.citation.attrieval_method import AttrievalMethod
from heed.citation.citation import Citation, Fact, Sentence
from heed.citation.faithfulness import faithfulness
from heed.citation.generate import answer
from heed.citation.methods import known_settings
from heed.citation.methods import method as method_of
from heed.citation.question import Question
from heed.citation.scores import Method, Scores, ranked
from heed.citation.units import sentences_of
from heed.errors import InputError
from heed.model import Model
from heed.probe import PrefixCache
from heed.profile import RankingProfile
from heed.text.span import CharSpan

PER_SENTENCE = 3
"""Facts named for each sentence of an answer."""


def cite(
    model: Model,
    context: str,
    question: str,
    response: str | None = None,
    *,
    rows: Rows | None = None,
    generate: bool = False,
    method: str = "learned",
    units: Sequence[str] | Sequence[CharSpan] | None = None,
    top: int = 10,
    check: bool = False,
    max_new_tokens: int = 256,
    prefix: PrefixCache | None = None,
    **settings: Any,
) -> Citation:
    """Which facts of the context the answer, or the question, rests on.

    Parameters
    ----------
    response, rows
        The answer; whose tokens are looked from, ``question`` or ``response`` (the default where there is one).
    generate
        Let the model answer, up to ``max_new_tokens`` tokens, and read it as it does.
    method
        One of `heed.citation.methods.NAMES`, or two joined by ``+``; ``settings`` go to it.
    units, top
        The facts, as stretches of the context (texts or spans, in order), by default its sentences; most facts named.
    check
        Also measure faithfulness: how much less probable the answer is without the facts (needs an answer).
    prefix
        Keys and values of prompts that begin alike (several questions about one context), not computed again by
        ``learned``, ``all_layers``, ``last_quarter`` and ``heads``; other methods and ``generate`` do without.

    Raises
    ------
    InputError
        If a text is empty, no sentence is found, units do not add up to the context, an answer is missing, or there
        is no such method.
    TooLongError
        If the question, the answer and one fact do not fit the model's window.
    ProfileError
        If the learned method has no profile for this model.
    """
    started = perf_counter()
    if generate and response is not None:
        raise InputError("expected a response or generate=True, found both: leave one out")
    if top < 1:
        raise InputError(f"expected at least one fact to be named, found top={top}")
    asked, whole = Question.of(question, context, response, units), rows == "question"
    told = {"rows": rows, "prefix": prefix if "prefix" in known_settings(method, model) else None}
    chosen = method_of(method, model, **{name: one for name, one in told.items() if one is not None}, **settings)
    generated = _answered(model, asked, chosen, max_new_tokens, whole=whole) if generate else None
    asked, found = generated or (asked, chosen(asked))
    made = _citation(asked, found, top=top)
    return replace(
        made,
        rows=found.rows or ("response" if looks_from(asked, rows) else "question"),
        method=method,
        settings={name: _plain(value) for name, value in settings.items()},
        model=model.name,
        generated=generate,
        faithfulness=faithfulness(model, asked, made.ranking) if check else None,
        seconds=perf_counter() - started,
    )


def _plain(value: Any) -> Any:
    """A setting as JSON: a profile by its digest, a path as text."""
    return value.digest if isinstance(value, RankingProfile) else str(value) if isinstance(value, Path) else value


def _answered(
    model: Model, question: Question, method: Method, max_new_tokens: int, *, whole: bool
) -> tuple[Question, Scores]:
    """The model's answer, and scores: of its tokens as they come where the method can, else of the finished prompt."""
    if isinstance(method, HeardMethod | AttrievalMethod) and not whole:
        return method.answer(question, max_new_tokens)
    asked = replace(question, response=answer(model, question, max_new_tokens=max_new_tokens))
    return asked, method(asked)


def _citation(question: Question, found: Scores, *, top: int) -> Citation:
    ranking = ranked(found.values)
    facts = tuple(
        Fact(
            index,
            question.units[index],
            question.facts[index],
            float(found.values[index]),
            None if found.frequency is None else float(found.frequency[index]),
        )
        for index in ranking[:top]
    )
    return Citation(
        question=question.text,
        context=question.context,
        response=question.response,
        rows="",
        method="",
        model="",
        units=question.units,
        scores=found.values,
        ranking=ranking,
        facts=facts,
        sentences=_sentences(question, found),
        context_mass=found.context_mass,
        windows=found.windows,
        passes=found.passes,
    )


def _sentences(question: Question, found: Scores) -> tuple[Sentence, ...]:
    if question.response is None or found.sentences is None:
        return ()
    response = question.response
    spans = sentences_of(response)
    return tuple(
        Sentence(span, response[span.slice()], ranked(values)[:PER_SENTENCE])
        for span, values in zip(spans, found.sentences, strict=True)
    )
