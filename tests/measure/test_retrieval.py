import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from heed.errors import InputError
from heed.measure import ndcg, recall_at


def test_recall_known_by_hand():
    ranking = ["d", "a", "c", "b"]
    assert [recall_at(ranking, {"a", "b"}, k) for k in (1, 2, 3, 4, 9)] == [0, 0.5, 0.5, 1, 1]
    assert recall_at(ranking, ["a", "a", "x"], 4) == 0.5
    assert recall_at([], {"a"}, 1) == 0


def test_ndcg_known_by_hand():
    assert ndcg(["a", "b"], {"a"}) == 1
    assert ndcg(["b", "a"], {"a"}) == pytest.approx(1 / math.log2(3))
    assert ndcg(["b", "a"], {"a"}, 1) == 0
    assert ndcg(["b", "a"], {"a": 3, "b": 1}) == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert ndcg(["x", "a"], ["a", "b"]) < ndcg(["a", "x"], ["a", "b"]) < 1


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12).filter(any), st.integers(1, 15), st.randoms())
def test_ndcg_agrees_with_scikit_learn(gains, k, random):
    ranking = list(range(len(gains)))
    random.shuffle(ranking)
    places = np.argsort(ranking)
    expected = ndcg_score([gains], [-places.astype(float)], k=k)
    assert ndcg(ranking, dict(enumerate(map(float, gains))), k) == pytest.approx(expected)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="expected at least one gold id, found none"):
        recall_at(["a"], [], 1)
    with pytest.raises(InputError, match="at least one above 0"):
        ndcg(["a"], {})
    with pytest.raises(InputError, match=r"expected finite gains >= 0, at least one above 0, found \[-1\]"):
        ndcg(["a"], {"a": -1})
    for measure in (recall_at, ndcg):
        with pytest.raises(InputError, match="expected k >= 1, found 0"):
            measure(["a"], {"a"}, 0)
        with pytest.raises(InputError, match="expected each id once in the ranking, found 2 places for 1 ids"):
            measure(["a", "a"], {"a"}, 1)
