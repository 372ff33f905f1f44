"""ATTRIEVAL's equations 5 to 7: on arrays small enough to count by hand, and against loops that spell them out."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.citation.attrieval import FEWEST_ROWS, check_settings, fact_frequency, fact_scores, sift, top_tokens
from heed.errors import InputError
from heed.text.span import TokenSpan

FACTS = (TokenSpan(0, 2), TokenSpan(2, 5), TokenSpan(5, 6))
ROWS = np.array(
    [
        [0.30, 0.02, 0.10, 0.00, 0.20, 0.01],
        [0.40, 0.05, 0.00, 0.00, 0.15, 0.25],
        [0.35, 0.01, 0.04, 0.30, 0.05, 0.00],
        [0.50, 0.03, 0.02, 0.10, 0.01, 0.04],
    ]
)


def test_equation_5_the_heaviest_tokens_of_each_row() -> None:
    wanted = [[0, 4], [0, 5], [0, 3], [0, 3]]
    assert [np.flatnonzero(row).tolist() for row in top_tokens(ROWS, 2)] == wanted
    assert top_tokens(ROWS, 6).all()
    assert top_tokens(ROWS, 100).all()
    assert top_tokens(ROWS[:1], 1).tolist() == [[True, False, False, False, False, False]]


def test_equation_6_the_share_of_rows_that_look_at_a_fact() -> None:
    assert fact_frequency(top_tokens(ROWS, 2), FACTS).tolist() == [1.0, 0.75, 0.25]
    assert fact_frequency(top_tokens(ROWS, 3), FACTS).tolist() == [1.0, 1.0, 0.5]


def test_equation_7_the_mean_over_rows_and_tokens() -> None:
    every = np.ones(6, dtype=bool)
    wanted = [(1.55 + 0.11) / 8, (0.16 + 0.40 + 0.41) / 12, 0.30 / 4]
    np.testing.assert_allclose(fact_scores(ROWS, FACTS, every), wanted)
    np.testing.assert_allclose(sift(ROWS, FACTS, top_k=2, threshold=1.0).scores(ROWS[1:2]), [0.225, 0.05, 0.25])


def test_as_published_a_fact_in_nearly_every_top_is_discarded() -> None:
    found = sift(ROWS, FACTS, top_k=2, threshold=0.99, sink="paper")
    assert found.discarded.tolist() == [True, False, False]
    assert found.counted.all()
    np.testing.assert_allclose(found.scores(ROWS), [0.0, 0.97 / 12, 0.075])
    lower = sift(ROWS, FACTS, top_k=2, threshold=0.75, sink="paper")
    assert lower.discarded.tolist() == [True, True, False]  # a frequency of the threshold itself is discarded


def test_a_sink_token_is_set_aside_and_the_next_one_takes_its_place() -> None:
    rows = np.tile(ROWS, (2, 1))
    found = sift(rows, FACTS, top_k=2, threshold=0.99, sink="token")
    assert found.counted.tolist() == [False, True, True, True, True, True]
    assert not found.discarded.any()
    # the tops without token 0: {4, 2}, {5, 4}, {3, 4}, {3, 5}
    assert found.frequency.tolist() == [0.0, 1.0, 0.5]
    np.testing.assert_allclose(found.scores(rows), [0.11 / 4, 0.97 / 12, 0.075])


def test_a_fact_of_nothing_but_sinks_scores_nothing() -> None:
    rows = np.tile([[0.9, 0.02, 0.03]], (FEWEST_ROWS, 1))
    found = sift(rows, [TokenSpan(0, 1), TokenSpan(1, 3)], top_k=1)
    np.testing.assert_allclose(found.scores(rows), [0.0, 0.025])


def test_a_handful_of_rows_makes_no_sink() -> None:
    rows = np.tile([[0.9, 0.02, 0.03]], (FEWEST_ROWS - 1, 1))
    found = sift(rows, [TokenSpan(0, 1), TokenSpan(1, 3)], top_k=1)
    assert found.counted.all()
    np.testing.assert_allclose(found.scores(rows), [0.9, 0.025])


def by_loops(rows, facts, chosen, *, k, threshold, sink):
    """The definitions, word by word."""
    n_rows, n_tokens = rows.shape

    def tops(allowed):
        return [sorted(allowed, key=lambda i: -rows[t, i])[:k] for t in range(n_rows)]

    def frequency(found):
        return [sum(any(i in top for i in range(f.start, f.end)) for top in found) / n_rows for f in facts]

    found, sinks = tops(range(n_tokens)), set()
    if sink == "token" and n_rows >= FEWEST_ROWS:
        sinks = {i for i in range(n_tokens) if sum(i in top for top in found) / n_rows >= threshold}
        found = tops([i for i in range(n_tokens) if i not in sinks])
    often, scores = frequency(found), []
    for fact, share in zip(facts, often, strict=True):
        own = [rows[t, i] for t in chosen for i in range(fact.start, fact.end) if i not in sinks]
        scores.append(0.0 if not own or (sink == "paper" and share >= threshold) else sum(own) / len(own))
    return often, scores


@pytest.mark.parametrize("sink", ["paper", "token"])
@pytest.mark.parametrize(("n_rows", "n_tokens", "n_facts"), [(1, 1, 1), (1, 63, 5), (63, 100, 9), (100, 63, 63)])
@pytest.mark.parametrize("top_k", [1, 5, 100])
def test_arrays_of_any_size_against_loops(n_rows, n_tokens, n_facts, top_k, sink) -> None:
    rng = np.random.default_rng(n_rows + n_tokens)
    rows = rng.dirichlet(np.full(n_tokens, 0.3), n_rows) + rng.random((n_rows, n_tokens)) * 1e-6
    rows[:, 0] += 0.8  # a sink
    edges = [0, *sorted(rng.choice(np.arange(1, n_tokens), n_facts - 1, replace=False)), n_tokens]
    facts = [TokenSpan(int(a), int(b)) for a, b in pairwise(edges)]
    chosen = sorted(rng.choice(n_rows, max(1, n_rows // 3), replace=False))
    found = sift(rows, facts, top_k=top_k, threshold=0.9, sink=sink)
    often, scores = by_loops(rows, facts, chosen, k=top_k, threshold=0.9, sink=sink)
    np.testing.assert_allclose(found.frequency, often)
    np.testing.assert_allclose(found.scores(rows[chosen]), scores, rtol=1e-6, atol=1e-12)


@settings(deadline=None)
@given(data=st.data(), n_rows=st.integers(1, 12), n_tokens=st.integers(1, 20), top_k=st.integers(1, 25))
def test_frequencies_are_shares_and_scores_lie_between_the_weights(data, n_rows, n_tokens, top_k) -> None:
    weights = st.floats(0.0, 1.0, width=32)
    rows = np.array(data.draw(st.lists(weights, min_size=n_rows * n_tokens, max_size=n_rows * n_tokens)))
    rows = rows.reshape(n_rows, n_tokens)
    cut = data.draw(st.integers(0, n_tokens - 1))
    facts = [span for span in (TokenSpan(0, cut), TokenSpan(cut, n_tokens)) if span]
    for sink in ("paper", "token"):
        found = sift(rows, facts, top_k=top_k, sink=sink)
        assert ((found.frequency >= 0) & (found.frequency <= 1)).all()
        scores = found.scores(rows)
        assert (scores >= 0).all()
        assert (scores <= rows.max() + 1e-9).all()
        assert (top_tokens(rows, top_k).sum(1) == min(top_k, n_tokens)).all()


def test_facts_may_leave_tokens_out_and_share_none() -> None:
    found = sift(ROWS, [TokenSpan(1, 2), TokenSpan(4, 5)], top_k=2, sink="paper")
    np.testing.assert_allclose(found.scores(ROWS), [0.11 / 4, 0.41 / 4])


@pytest.mark.parametrize(
    "wrong", [{"top_k": 0}, {"threshold": 0.0}, {"threshold": 1.5}, {"sink": "fact"}, {"threshold": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(InputError, match="expected top_k of at least 1"):
        check_settings(**{"top_k": 10, "threshold": 0.99, "sink": "token"} | wrong)


def test_rows_and_facts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least one row on one fact"):
        sift(ROWS[:0], FACTS)
    with pytest.raises(InputError, match="at least one row on one fact"):
        sift(ROWS, [])
    with pytest.raises(InputError, match=r"within 6 tokens, found 5\.\.7"):
        sift(ROWS, [TokenSpan(5, 7)])
    with pytest.raises(InputError, match=r"found 2\.\.2"):
        sift(ROWS, [TokenSpan(2, 2)])


def test_defect_10_a_thousand_rows_on_eight_thousand_tokens_take_no_minutes() -> None:
    rows = np.random.default_rng(0).random((1000, 8000), dtype=np.float32)
    facts = [TokenSpan(first, first + 20) for first in range(0, 8000, 20)]
    started = time.process_time()
    sift(rows, facts).scores(rows)
    assert time.process_time() - started < 5.0
