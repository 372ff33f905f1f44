"""What an answer loses without facts, against numbers known beforehand."""

import json

import numpy as np
import pytest

from heed.citation.ablation import Ablations
from heed.citation.faithfulness import Faithfulness, compare_drops, faithfulness
from heed.citation.question import Question
from heed.errors import InputError
from tiny import keen_model

WORTH = [0.5, 4.0, 0.0, -1.0, 2.0, 0.25]
QUESTION = Question.of("Which?", " ".join(f"Fact {i}." for i in range(6)), "This. That.")


@pytest.fixture
def additive(monkeypatch):
    """A model whose answer of two tokens loses exactly what the missing facts are worth."""

    def run(self: Ablations, question: Question) -> np.ndarray:
        kept = sum(WORTH[int(fact[5])] for fact in question.facts)
        return np.array([kept - sum(WORTH) - 1.0, -2.0])

    monkeypatch.setattr(Ablations, "_run", run)
    return Ablations(None, QUESTION)


def test_known_by_hand(additive):
    found = compare_drops(additive, (1, 4, 0, 5, 2, 3), k=2, draws=50, seed=7)
    rng = np.random.default_rng(7)
    drawn = [sum(WORTH[fact] for fact in rng.choice(6, 2, replace=False)) for _ in range(50)]
    assert (found.k, found.draws, found.tokens) == (2, 50, 2)
    assert found.drop == pytest.approx(6.0)
    assert found.random_drop == pytest.approx(np.mean(drawn))
    assert found.logprob == -3.0
    assert found.random_interval.low < found.random_drop < found.random_interval.high < found.drop
    assert found.random_interval.level == 0.95


def test_random_facts_are_shared_between_rankings(additive):
    first = compare_drops(additive, (1, 4, 0, 5, 2, 3), k=1)
    second = compare_drops(additive, (3, 2, 5, 0, 4, 1), k=1)
    assert first.passes == additive.passes - second.passes
    assert second.passes <= 1
    assert (second.drop, second.random_drop) == (-1.0, first.random_drop)
    assert first.passes <= 7


def test_record_and_summary(additive):
    found = compare_drops(additive, (1, 4, 0, 5, 2, 3), k=2)
    record = json.loads(json.dumps(found.record()))
    assert record["drop"] == 6.0
    assert set(record["random_interval"]) == {"low", "high", "level"}
    assert found.summary().startswith("6.00 nats without the best 2; ")


def test_at_least_one_fact_stays(additive):
    assert compare_drops(additive, range(6)).k == 5
    for k in (0, 6, -1):
        with pytest.raises(InputError, match=f"expected k from 1 to 5, one less than the facts, found {k}"):
            compare_drops(additive, range(6), k=k)
    single = Ablations(None, Question.of("Which?", "One fact.", "This."))
    with pytest.raises(InputError, match="expected k from 1 to 0"):
        compare_drops(single, (0,))


def test_rankings_and_draws_that_say_too_little_are_refused(additive):
    with pytest.raises(InputError, match="expected 3 different facts and two draws or more, found 2 and 10"):
        compare_drops(additive, (1, 1, 2), k=3)
    with pytest.raises(InputError, match="found 1 and 1"):
        compare_drops(additive, (1, 2), k=1, draws=1)


def test_of_a_model(tmp_path):
    model = keen_model(tmp_path)
    found = faithfulness(model, QUESTION, range(6), k=2, draws=3)
    answer = Ablations(model, QUESTION)
    assert isinstance(found, Faithfulness)
    assert found.drop == pytest.approx(answer.tokens().sum() - answer.tokens([0, 1]).sum())
    assert found.drop != 0
    assert found.tokens == len("This. That.")
    assert found.passes <= 5
    with pytest.raises(InputError, match="expected a response whose probability can fall"):
        faithfulness(model, Question.of("Which?", "One. Two.", None), (0, 1))
