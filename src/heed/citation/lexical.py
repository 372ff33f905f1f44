"""BM25: facts ranked by the rare words they share with the question and the answer. No model."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from heed.citation.attention import Rows
from heed.citation.queries import queries
from heed.citation.question import Question
from heed.citation.scores import Method, Scores
from heed.errors import InputError

WORD = r"(?u)\b\w+\b"
"""What counts as a word: letters and digits, single ones too ("7 mg"), lower-cased."""


def bm25_method(
    *, rows: Rows | None = None, k1: float = 1.5, b: float = 0.75, stop_words: Sequence[str] | str | None = "en"
) -> Method:
    """BM25 of each fact among the facts of its context, in Lucene's form, as the library bm25s has it.

    A query word of a fact adds ``ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 (1 - b + b l / mean l))``: the word
    stands in n of the N facts, f times in this one, which has l words. Nothing is stemmed. A fact without a word of
    the query scores 0. Robertson and Zaragoza, Foundations and Trends in Information Retrieval 3 (2009).

    Parameters
    ----------
    rows
        "question" looks for the question alone; by default the answer stands behind it wherever there is one.
    k1, b
        How soon repeated words count no more, and how much long facts are held back.
    stop_words
        Words that count nowhere: a list, the name of one of bm25s (its 33 English ones), or None.

    Raises
    ------
    InputError
        If ``k1`` is negative, ``b`` outside of [0, 1], or bm25s has no stop words of that name.
    """
    if k1 < 0 or not 0 <= b <= 1:
        raise InputError(f"expected k1 >= 0 and b in [0, 1], found k1={k1}, b={b}: 1.5 and 0.75 are usual")
    try:
        _words([""], stop_words)
    except ValueError as error:
        raise InputError(f"expected stop words that bm25s has, such as 'en', found {stop_words!r}: {error}") from error

    def score(question: Question) -> Scores:
        asked = queries(question, rows)
        found = _scores(_words(question.facts, stop_words), _words(asked, stop_words), k1=k1, b=b)
        return Scores(found[0], sentences=found[1:] if len(asked) > 1 else None)

    return score


def _words(texts: Sequence[str], stop_words: Sequence[str] | str | None) -> list[list[str]]:
    import bm25s

    found: list[list[str]] = bm25s.tokenize(
        list(texts), token_pattern=WORD, stopwords=stop_words or [], return_ids=False, show_progress=False
    )
    return found


def _scores(facts: list[list[str]], asked: list[list[str]], *, k1: float, b: float) -> Float[np.ndarray, "N U"]:
    import bm25s

    scores = np.zeros((len(asked), len(facts)))
    if not any(facts):
        return scores
    index = bm25s.BM25(k1=k1, b=b, method="lucene", dtype="float64")
    index.index(facts, show_progress=False)
    for place, words in enumerate(asked):
        if words:  # bm25s cannot take a query without a word
            scores[place] = index.get_scores(words)
    return scores
