"""BM25 against numbers worked out by hand and a plain loop."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.citation.lexical import bm25_method
from heed.citation.question import Question
from heed.errors import InputError

FACTS = ["Red fox.", "Red dog!", "Blue bird sings."]


def asked(text: str, response: str | None = None, facts: list[str] = FACTS) -> Question:
    return Question.of(text, " ".join(facts), response, facts)


def test_known_by_hand():
    found = bm25_method()(asked("a FOX?"))
    # idf ln(1 + 2.5/1.5), one fox among 2 words where the mean fact has 7/3
    expected = math.log(1 + 2.5 / 1.5) / (1 + 1.5 * (0.25 + 0.75 * 2 / (7 / 3)))
    np.testing.assert_allclose(found.values, [expected, 0, 0], rtol=1e-12)
    assert expected == pytest.approx(0.419285, abs=1e-6)
    assert (found.passes, found.sentences, found.windows) == (0, None, 1)


def naive(facts: list[str], query: str, k1: float, b: float) -> list[float]:
    words = [re.findall(r"\w+", text.lower()) for text in facts]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for fact in words:
        counts, score = Counter(fact), 0.0
        for word in re.findall(r"\w+", query.lower()):
            n = sum(word in other for other in words)
            if counts[word]:
                idf = math.log(1 + (len(words) - n + 0.5) / (n + 0.5))
                score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(fact) / mean))
        scores.append(score)
    return scores


@settings(deadline=None)
@given(
    st.lists(st.text("abé 1.!", min_size=1).filter(lambda text: any(map(str.isalnum, text))), min_size=1, max_size=9),
    st.text("abé 1.!", min_size=1).filter(str.strip),
    st.floats(0, 3),
    st.floats(0, 1),
)
def test_agrees_with_a_plain_loop(facts, query, k1, b):
    found = bm25_method(k1=k1, b=b, stop_words=None)(asked(query, facts=facts)).values
    np.testing.assert_allclose(found, naive(facts, query, k1, b), rtol=1e-6, atol=1e-9)


def test_numbers_of_one_digit_count_and_stop_words_do_not():
    facts = ["It is the dose of 7 mg.", "It is the dose of 8 mg."]
    found = bm25_method()(asked("is it the 7?", facts=facts)).values
    assert found[0] > 0
    assert found[1] == 0
    assert not bm25_method()(asked("is it the?", facts=facts)).values.any()
    assert bm25_method(stop_words=None)(asked("is it the?", facts=facts)).values.all()
    assert not bm25_method(stop_words=["7"])(asked("7", facts=facts)).values.any()


def test_the_answer_stands_behind_the_question_unless_only_that_is_looked_for():
    question = asked("fox?", "It sings. It is blue. Dog!")
    both, alone = bm25_method()(question), bm25_method(rows="question")(question)
    np.testing.assert_allclose(both.values, naive(FACTS, "fox sings blue dog", 1.5, 0.75))
    np.testing.assert_allclose(alone.values, naive(FACTS, "fox", 1.5, 0.75))
    assert alone.sentences is None
    for sentence, query in zip(both.sentences, ["sings", "blue", "dog"], strict=True):
        np.testing.assert_allclose(sentence, naive(FACTS, query, 1.5, 0.75))


def test_facts_or_questions_without_a_word():
    emoji = ["😀😀", "…!"]
    found = bm25_method()(Question.of("?!", " ".join(emoji), None, emoji)).values
    assert found.tolist() == [0.0, 0.0]
    assert not bm25_method()(asked("?!")).values.any()


def test_bad_settings_are_refused():
    for bad in ({"k1": -1}, {"b": 1.5}, {"b": -0.1}):
        with pytest.raises(InputError, match="expected k1 >= 0 and b in"):
            bm25_method(**bad)
    with pytest.raises(InputError, match="expected stop words that bm25s has, such as 'en', found 'klingon'"):
        bm25_method(stop_words="klingon")
    with pytest.raises(InputError, match="expected a response"):
        bm25_method(rows="response")(asked("fox"))
