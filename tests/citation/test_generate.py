"""Read while it answers: the numbers of a pass over the finished prompt, the tokens as they were generated."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from answering import answering_model
from heed.citation.attrieval_method import attrieval_method
from heed.citation.generate import _pieces, answer, generate, hear_answer
from heed.citation.prompt import RESPONSE, encode_question
from heed.citation.question import Question
from heed.citation.reading import hear
from heed.errors import InputError, TooLongError
from heed.model import Model
from heed.probe.prompt import tokenizer_of
from heed.text.span import TokenSpan
from tiny import CONTEXT as WINDOW
from tiny import tiny_tokenizer

EXACT = 2e-6
ASKED = Question.of("What colour?", "The sky is blue. Grass is green! Is 1.4 mg/dL high? Nobody knows (see Fig. 2).")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return answering_model(tmp_path_factory.mktemp("answering"))


def plain_answer(model: Model, tokens: int) -> tuple[np.ndarray, str]:
    prompt = encode_question(ASKED, tokenizer_of(model))
    with torch.no_grad():
        ids = model.hf.generate(torch.from_numpy(prompt.ids)[None], max_new_tokens=tokens, do_sample=False)[0]
    return ids.numpy(), model.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)


@pytest.mark.parametrize("tokens", [1, 5, 63])
def test_the_answer_is_the_models_own_greedy_one(model, tokens) -> None:
    ids, text = plain_answer(model, tokens)
    made = generate(model, encode_question(ASKED, tokenizer_of(model)), max_new_tokens=tokens)
    assert made.response == text == answer(model, ASKED, max_new_tokens=tokens)
    assert not made.complete
    np.testing.assert_array_equal(made.prompt.ids, ids)
    assert made.prompt.text.endswith(text)
    assert len(made.prompt.part(RESPONSE)) == tokens
    assert len(made.reading.steps) == tokens + 1


def test_an_answer_that_ends_by_itself_leaves_its_end_out(model, monkeypatch) -> None:
    ids, text = plain_answer(model, 30)
    cut = text.index(text[10])  # the letter stops the answer where it first comes
    config = model.hf.generation_config
    monkeypatch.setattr(config, "eos_token_id", int(ids[len(ids) - 30 + cut]))
    if cut == 0:
        pytest.fail("the fixture answers one letter over and over: choose another seed")
    made = generate(model, encode_question(ASKED, tokenizer_of(model)), max_new_tokens=30)
    assert made.complete
    assert made.response == text[:cut]
    assert len(made.prompt.part(RESPONSE)) == cut == len(made.reading.steps) - 1


def test_what_is_heard_equals_a_pass_over_the_finished_prompt(model) -> None:
    answered, heard = hear_answer(model, replace(ASKED, response="is not looked at"), max_new_tokens=40)
    assert answered.response == plain_answer(model, 40)[1]
    wanted = hear(model, answered, response=True)
    np.testing.assert_allclose(heard.mass, wanted.mass, atol=EXACT)
    np.testing.assert_allclose(heard.context, wanted.context, atol=EXACT)
    assert heard.rows.tolist() == wanted.rows.tolist()
    assert heard.tokens.tolist() == wanted.tokens.tolist()
    assert (heard.sentences, heard.windows) == (wanted.sentences, 1)
    assert np.ptp(heard.mass) > 0.01


@pytest.mark.parametrize("settings", [{}, {"sink": "paper", "top_k": 3}, {"retriever": "facts", "n_retriever": 4}])
def test_attrieval_read_while_answering_equals_attrieval_afterwards(model, settings) -> None:
    answered, found = attrieval_method(model, **settings).answer(ASKED, 40)
    assert answered.response == plain_answer(model, 40)[1]
    wanted = attrieval_method(model, **settings)(answered)
    np.testing.assert_allclose(found.values, wanted.values, atol=EXACT)
    np.testing.assert_allclose(found.frequency, wanted.frequency)
    np.testing.assert_allclose(found.sentences, wanted.sentences, atol=EXACT)
    np.testing.assert_allclose(found.context_mass, wanted.context_mass, atol=EXACT)
    assert (found.passes, found.windows) == (wanted.passes, wanted.windows)


@hypothesis_settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_tokens_stand_for_the_characters_they_spell(text) -> None:
    """Tokens that spell one character in bytes together share it."""
    tokenizer = tiny_tokenizer()
    ids = np.array(tokenizer.backend_tokenizer.encode(text).ids, dtype=np.int64)
    offsets, found = _pieces(tokenizer, ids)
    assert found == text
    assert offsets.shape == (len(ids), 2)
    wanted = [place for place, character in enumerate(text) for _ in character.encode()]
    assert offsets[:, 0].tolist() == wanted
    assert offsets[:, 1].tolist() == [start + 1 for start in wanted]


def test_control_tokens_and_broken_bytes_spell_nothing() -> None:
    tokenizer = tiny_tokenizer()
    letters = tokenizer.backend_tokenizer.encode("aé").ids
    offsets, text = _pieces(tokenizer, np.array([letters[0], 1, letters[0], letters[1]]))
    assert text == "aa"
    assert offsets.tolist() == [[0, 1], [1, 1], [1, 2], [2, 2]]


def test_an_empty_answer_is_refused(model, monkeypatch) -> None:
    ids, _ = plain_answer(model, 1)
    monkeypatch.setattr(model.hf.generation_config, "eos_token_id", int(ids[-1]))
    with pytest.raises(InputError, match="give a response, or look from the question"):
        answer(model, ASKED)


def test_answers_that_do_not_fit_or_have_no_length_are_refused(model) -> None:
    with pytest.raises(TooLongError, match=f"at most {WINDOW}"):
        answer(model, ASKED, max_new_tokens=WINDOW)
    with pytest.raises(InputError, match="at least one token of answer"):
        answer(model, ASKED, max_new_tokens=0)


def test_an_attention_that_is_not_finite_is_refused(tmp_path) -> None:
    broken = answering_model(tmp_path)
    with torch.no_grad():
        broken.hf.model.layers[1].self_attn.k_proj.weight.fill_(torch.nan)
        broken.hf.lm_head.weight.zero_()
    with pytest.raises(InputError, match="expected"):
        hear_answer(broken, ASKED, max_new_tokens=3)


def test_generated_rows_are_behind_the_prompt(model) -> None:
    prompt = encode_question(ASKED, tokenizer_of(model))
    made = generate(model, prompt, max_new_tokens=7)
    assert made.prompt.part(RESPONSE) == TokenSpan(len(prompt), len(prompt) + 7)
    assert made.prompt.to_part(RESPONSE, made.prompt.part(RESPONSE)).end == len(made.response)
