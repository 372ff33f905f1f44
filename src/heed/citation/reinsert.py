"""Retrieved facts put back into the prompt, and a second answer: the last step of ATTRIEVAL (arXiv 2503.09819).

The facts are restated between the context and the question, in the order of the context. The wording is heed's own;
that of the paper is not known to us.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from heed.citation.generate import generate
from heed.citation.prompt import CONTEXT, QUESTION
from heed.citation.question import Question
from heed.errors import InputError
from heed.model import Model
from heed.probe.prompt import tokenizer_of
from heed.text.encode import Encoded, encode
from heed.text.message import Message, Part, Role, Trust
from heed.text.render import render

FACTS = "facts"
LEAD = "The facts that matter for the question:"


@dataclass(frozen=True, slots=True)
class Reinserted:
    """A second answer, and the facts (numbers of units, in the order of the context) it was given once more."""

    response: str
    facts: tuple[int, ...]
    context_kept: bool
    """False where context, facts and answer together did not fit the model's window: then the facts stood alone."""
    complete: bool
    """Whether the model ended by itself, rather than at the limit."""


def reinsert(model: Model, question: Question, facts: Sequence[int], *, max_new_tokens: int = 256) -> Reinserted:
    """Answer the question again with ``facts`` restated.

    Raises
    ------
    InputError
        If there is no fact, one is not among the units, or the model answers nothing.
    TooLongError
        If even the facts, the question and the answer do not fit the model's window.
    """
    chosen = tuple(sorted(set(facts)))
    if not chosen or chosen[0] < 0 or chosen[-1] >= len(question.units):
        raise InputError(f"expected facts among the {len(question.units)} units, found {list(facts)}")
    prompt = reinserted_prompt(model, question, chosen)
    kept = model.context is None or len(prompt) + max_new_tokens < model.context
    if not kept:
        prompt = reinserted_prompt(model, question, chosen, context=False)
    made = generate(model, prompt, max_new_tokens=max_new_tokens)
    return Reinserted(made.response, chosen, kept, made.complete)


def reinserted_prompt(model: Model, question: Question, facts: Sequence[int], *, context: bool = True) -> Encoded:
    """The prompt with facts restated, one a line; parts named context (if it is kept), facts and question."""
    lines = "\n".join(f"- {' '.join(question.facts[fact].split())}" for fact in facts)
    parts = (
        *((Part(question.context, Trust.UNTRUSTED, CONTEXT), Part("\n\n")) if context else ()),
        Part(f"{LEAD}\n"),
        Part(lines, Trust.UNTRUSTED, FACTS),
        Part("\n\n"),
        Part(question.text, name=QUESTION),
    )
    tokenizer = tokenizer_of(model)
    return encode(render([Message(Role.USER, parts)], tokenizer), tokenizer)
