"""Rankings that read nothing."""

import numpy as np
import pytest

from heed.citation.position import lead_method, random_method, recency_method
from heed.citation.question import Question
from heed.citation.scores import ranked


def asked(text: str, count: int) -> Question:
    facts = [f"Fact {i}." for i in range(count)]
    return Question.of(text, " ".join(facts), None, facts)


@pytest.mark.parametrize("count", [1, 63, 100])
def test_lead_and_recency(count):
    question = asked("Which?", count)
    assert ranked(lead_method()(question).values) == tuple(range(count))
    assert ranked(recency_method()(question).values) == tuple(reversed(range(count)))


def test_chance_is_the_same_again_and_another_for_another_question_or_seed():
    question, other = asked("Which?", 63), asked("Where?", 63)
    first = random_method(seed=1)(question).values
    np.testing.assert_array_equal(first, random_method(seed=1)(question).values)
    assert len(set(first)) == 63
    for found in (random_method(seed=1)(other), random_method(seed=2)(question)):
        assert abs(np.corrcoef(first, found.values)[0, 1]) < 0.4


def test_chance_prefers_no_place():
    method = random_method()
    best = [ranked(method(asked(f"Question {i}?", 4)).values)[0] for i in range(400)]
    # 100 expected of each, standard deviation 8.7
    assert all(65 < best.count(place) < 135 for place in range(4))


def test_rows_change_nothing():
    question = asked("Which?", 7)
    for method in (random_method, lead_method, recency_method):
        np.testing.assert_array_equal(method(rows="question")(question).values, method()(question).values)
