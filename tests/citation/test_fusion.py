"""Reciprocal rank fusion against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from heed.citation.fusion import fuse, fusion_method
from heed.citation.question import Question
from heed.citation.scores import Scores
from heed.errors import InputError

QUESTION = Question.of("Which?", "One. Two. Three.")


def scores(*values: float, **more) -> Scores:
    return Scores(np.array(values, dtype=float), **more)


def test_known_by_hand():
    found = fuse([scores(3, 2, 1), scores(1, 5, 7)])
    np.testing.assert_allclose(found.values, [1 / 61 + 1 / 63, 1 / 62 + 1 / 62, 1 / 63 + 1 / 61])
    np.testing.assert_allclose(fuse([scores(3, 2), scores(2, 3), scores(9, 0)], k=0).values, [2.5, 2.0])


def test_equal_scores_share_their_rank():
    found = fuse([scores(0, 0, 5), scores(3, 2, 1)])
    np.testing.assert_allclose(found.values, [1 / 62.5 + 1 / 61, 1 / 62.5 + 1 / 62, 1 / 61 + 1 / 63])


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=100))
def test_ranks_agree_with_scipy(values):
    once = fuse([scores(*values), scores(*values)], k=60).values
    np.testing.assert_allclose(once, 2 / (60 + rankdata([-value for value in values])))


def test_what_the_parts_know_is_kept():
    frequency, rows = np.array([0.5, 0.0, 1.0]), np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    attention = scores(1, 2, 3, passes=1, windows=2, context_mass=0.4, frequency=frequency, sentences=rows)
    words = scores(3, 2, 1, sentences=rows[::-1])
    found = fuse([words, attention])
    assert (found.passes, found.windows, found.context_mass) == (1, 2, 0.4)
    assert found.frequency is frequency
    np.testing.assert_allclose(found.sentences[0], [1 / 61 + 1 / 63, 2 / 62, 1 / 63 + 1 / 61])
    assert fuse([attention, scores(1, 1, 1)]).sentences is None


def test_methods_are_asked_the_same_question():
    def first(question: Question) -> Scores:
        assert question is QUESTION
        return scores(3, 2, 1)

    found = fusion_method([first, lambda question: scores(*map(len, question.facts))])(QUESTION)
    np.testing.assert_allclose(found.values, [1 / 61 + 1 / 62.5, 1 / 62 + 1 / 62.5, 1 / 63 + 1 / 61])


def test_one_method_is_no_fusion():
    with pytest.raises(InputError, match="two methods or more and k >= 0, found 1"):
        fusion_method([lambda question: scores(1)])
    with pytest.raises(InputError, match="found 2 and k=-1"):
        fusion_method([lambda question: scores(1)] * 2, k=-1)
