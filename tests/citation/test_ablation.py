"""Facts taken out of a context: texts, log-probabilities and scores against plain computations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import heed
from heed.citation.ablation import Ablations, contextcite_method, leave_one_out_method, surrogate, without
from heed.citation.question import Question
from heed.citation.scores import ranked
from heed.errors import InputError, TooLongError
from heed.model.embedded import embedded_path
from tiny import keen_model

RESPONSE = "Blue. It is."


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return keen_model(tmp_path_factory.mktemp("tiny"))


def asked(context: str = "Sky is blue. Sun is red. Sea is wet.", response: str | None = RESPONSE) -> Question:
    return Question.of("Sky?", context, response)


def plain_logprobs(model, context: str, question: str, response: str) -> np.ndarray:
    """Of the answer's bytes, by transformers alone."""
    opening = f"<|im_start|>user\n{context}\n\n{question}<|im_end|>\n<|im_start|>assistant\n"
    head = model.tokenizer(opening)["input_ids"]
    answer = model.tokenizer(response)["input_ids"]
    with torch.no_grad():
        logits = model.hf(torch.tensor([head + answer])).logits[0, len(head) - 1 : -1]
    return logits.log_softmax(-1)[range(len(answer)), answer].double().numpy()


# Texts


def test_a_fact_goes_with_what_stands_before_it():
    question = Question.of("?a", "- one\n- two\n\n- three.", "x", ["one", "two", "three"])
    kept = {(): "- one\n- two\n\n- three.", (0,): "two\n\n- three.", (1,): "- one\n\n- three.", (2,): "- one\n- two",
            (0, 1): "three.", (1, 2): "- one", (0, 1, 2): ""}  # fmt: skip
    for removed, text in kept.items():
        assert without(question, removed).context == text


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b.", "1.4 mg", "é!"]), min_size=1, max_size=8), st.data())
def test_what_is_left_are_the_same_facts_in_order(facts, data):
    separator = data.draw(st.sampled_from([" ", "\n\n", ", ", ""]))
    question = Question.of("q", separator.join(facts), "r", facts)
    assert without(question, ()) == question
    removed = data.draw(st.sets(st.integers(0, len(facts) - 1)))
    left = without(question, removed)
    kept = [fact for index, fact in enumerate(facts) if index not in removed]
    assert left.facts == tuple(kept)
    assert left.context == separator.join(kept)


def test_a_number_that_is_no_fact_is_refused():
    for wrong in (3, -1):
        with pytest.raises(InputError, match=rf"expected facts from 0 to 2, found \[{wrong}\]"):
            without(asked(), [wrong])


# Log-probabilities


@pytest.mark.parametrize("removed", [(), (1,), (0, 2), (0, 1, 2)])
def test_log_probabilities_are_those_of_the_model(model, removed):
    question = asked()
    expected = plain_logprobs(model, without(question, removed).context, "Sky?", RESPONSE)
    np.testing.assert_allclose(Ablations(model, question).tokens(removed), expected, atol=1e-4)


def test_each_context_is_scored_once(model):
    answer = Ablations(model, asked())
    assert answer.drop([1, 0]) == answer.drop((0, 1)) == answer.drop(np.array([0, 1]))
    assert answer.passes == 2
    assert answer.drop([]) == 0.0


def test_an_answer_is_needed(model):
    for method in (leave_one_out_method(model), contextcite_method(model)):
        with pytest.raises(InputError, match="expected a response"):
            method(asked(response=None))
    with pytest.raises(InputError, match="expected a response and rows of it"):
        leave_one_out_method(model, rows="question")(asked())
    with pytest.raises(InputError, match="expected a response whose probability can fall"):
        Ablations(model, asked(response=None))


# Leave-one-out


@pytest.mark.parametrize("share", [True, False])
def test_leave_one_out_is_the_plain_difference(model, share):
    question = asked()
    found = leave_one_out_method(model, share=share)(question)
    whole = plain_logprobs(model, question.context, "Sky?", RESPONSE)
    lost = [whole - plain_logprobs(model, without(question, [fact]).context, "Sky?", RESPONSE) for fact in range(3)]
    lost, second = np.array(lost), RESPONSE.index("It")
    np.testing.assert_allclose(found.values, lost.sum(1), atol=1e-3)
    np.testing.assert_allclose(found.sentences, [lost[:, : second - 1].sum(1), lost[:, second:].sum(1)], atol=1e-3)
    assert (found.passes, found.windows) == (4, 1)
    assert np.ptp(found.values) > 0.01


def test_a_context_longer_than_the_window_is_scored_in_stretches(model):
    question = asked(" ".join(f"Fact number {i} is here." for i in range(30)))
    found = leave_one_out_method(model)(question)
    assert found.windows == 2
    assert found.passes == 32
    halves = [without(question, range(15, 30)), without(question, range(15))]
    alone = [leave_one_out_method(model)(half) for half in halves]
    np.testing.assert_allclose(found.values, np.concatenate([half.values for half in alone]), atol=1e-5)
    assert found.sentences.shape == (2, 30)
    with pytest.raises(TooLongError, match="question, answer and one fact"):
        leave_one_out_method(model)(asked("a" * 600))


# ContextCite


def test_lasso_on_orthogonal_masks_is_soft_thresholding():
    kept = np.array([[False, False], [False, True], [True, False], [True, True]])
    logits = 3.0 * kept[:, 0] + 0.5 * kept[:, 1] - 4.0
    tokens = np.stack([-np.log1p(np.exp(-logits)), np.zeros(4)], 1)
    # standardised columns are -1 and 1: a coefficient is half the weight a token, less alpha, or zero
    found = surrogate(kept, tokens, alpha=0.2)
    np.testing.assert_allclose(found, [2 * 2 * (3.0 / 2 / 2 - 0.2), 0.0], atol=1e-6)
    np.testing.assert_allclose(surrogate(kept, tokens, alpha=1e-9), [3.0, 0.5], atol=1e-4)


def test_a_fact_that_is_always_kept_and_a_certain_answer_give_finite_weights():
    kept = np.array([[True, False], [True, True], [True, False]])
    found = surrogate(kept, np.array([[-1.0], [0.0], [-1.0]]), alpha=0.01)
    assert found[0] == 0.0
    assert 0 < found[1] < 20


def test_contextcite_from_its_own_masks(model):
    question = asked()
    found = contextcite_method(model, ablations=16, seed=3)(question)
    kept = np.random.default_rng(3).random((16, 3)) < 0.5
    tokens = [
        plain_logprobs(model, without(question, np.flatnonzero(~mask)).context, "Sky?", RESPONSE) for mask in kept
    ]
    np.testing.assert_allclose(found.values, surrogate(kept, np.array(tokens), alpha=0.01), atol=0.02)
    assert found.passes == len(np.unique(kept, axis=0)) <= 8
    assert found.sentences.shape == (2, 3)


def test_bad_settings_are_refused(model):
    for bad in ({"ablations": 1}, {"keep": 0.0}, {"keep": 1.0}, {"alpha": -0.1}):
        with pytest.raises(InputError, match="expected ablations >= 2, keep in"):
            contextcite_method(model, **bad)


# The embedded model


@pytest.mark.embedded
def test_the_needle_is_found():
    if embedded_path() is None:
        pytest.skip("the embedded model is not pulled (`heed models pull`)")
    context = (
        "The garden was planted in spring. Maria likes to paint boats. The secret code of the vault is 7319. "
        "Trains leave every hour. The old mill burned down in 1902. Bread is baked every morning."
    )
    question = Question.of("What is the secret code of the vault?", context, "The code is 7319.")
    found = leave_one_out_method(heed.load())(question)
    assert ranked(found.values)[0] == 2
    assert found.values[2] > math.log(100)
    assert found.values[2] > 3 * np.abs(np.delete(found.values, 2)).max()
    assert found.passes == 7
