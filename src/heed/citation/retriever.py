"""Retriever tokens: the tokens of an answer after which the model would go on otherwise without the context.

ATTRIEVAL's second algorithm (arXiv 2503.09819) scores facts by the attention of these rows alone. What follows each
token of the answer is predicted twice, with the prompt as it is and with a short one; where the two distributions
differ most, the model makes use of the context. The short prompt ends in the very tokens of the answer, so that row t
of one is row t of the other. The published text leaves open what stays in it: here nothing but the question, or the
facts found so far as well.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Int

from heed.citation.prompt import RESPONSE, encode_question
from heed.citation.question import Question
from heed.model import Model
from heed.probe.likelihood import next_token_divergence
from heed.probe.prompt import tokenizer_of
from heed.text.encode import Encoded
from heed.text.span import TokenSpan
from heed.text.tokenizer import FastTokenizer

Short = Literal["question", "facts"]
"""What stays in the short prompt beside the answer: the question only, or the best facts and the question."""


def retriever_rows(
    model: Model, question: Question, prompt: Encoded, answer: TokenSpan, *, facts: Sequence[str] = (), n: int = 10
) -> Int[np.ndarray, " n"]:
    """The ``n`` tokens of an answer that need the context most, ascending; all, where there are no more than n.

    Counted from the first token of the answer, so that they number the rows of attention of ``answer`` in ``prompt``.

    Parameters
    ----------
    prompt, answer
        The long prompt, and where the answer's tokens stand in it.
    facts
        What of the context stays in the short prompt; by default nothing.

    Raises
    ------
    InputError
        If there is no answer.
    TooLongError, UnsupportedModelError, OutOfMemoryError
        As `heed.probe.likelihood.next_token_divergence`.
    """
    short, rows = short_prompt(question, tokenizer_of(model), prompt.ids[answer.slice()], facts)
    change = next_token_divergence(model, prompt, answer, short, rows)
    return np.sort(np.argsort(-change, kind="stable")[:n])


def short_prompt(
    question: Question, tokenizer: FastTokenizer, answer: Int[np.ndarray, " Q"], facts: Sequence[str] = ()
) -> tuple[Encoded, TokenSpan]:
    """The prompt with nothing but ``facts`` as its context, ended by the answer's own tokens, and where these stand."""
    whole = encode_question(replace(question, context=" ".join(facts)), tokenizer)
    start = whole.part(RESPONSE).start
    rows = TokenSpan(start, start + len(answer))
    nowhere = np.full((len(answer), 2), whole.offsets[start, 0])
    offsets = np.concatenate([whole.offsets[:start], nowhere])
    return Encoded(np.concatenate([whole.ids[:start], answer]), offsets, whole.text), rows
