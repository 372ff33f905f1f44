"""Facts restated behind the context, a second answer; the facts alone where both do not fit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from answering import answering_model
from heed.citation.prompt import CONTEXT, QUESTION
from heed.citation.question import Question
from heed.citation.reinsert import FACTS, LEAD, reinsert, reinserted_prompt
from heed.errors import InputError, SpanNotFoundError, TooLongError
from heed.model import Model
from tiny import CONTEXT as WINDOW

ASKED = Question.of("What colour?", "The sky is blue. Grass is green!\nIs 1.4 mg/dL\thigh? Nobody knows.", "Blue.")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return answering_model(tmp_path_factory.mktemp("answering"))


def test_facts_stand_between_context_and_question_in_their_order(model) -> None:
    prompt = reinserted_prompt(model, ASKED, (0, 2))
    user = f"{ASKED.context}\n\n{LEAD}\n- The sky is blue.\n- Is 1.4 mg/dL high?\n\nWhat colour?"
    assert prompt.text == f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.part(CONTEXT).end < prompt.part(FACTS).start < prompt.part(QUESTION).start


def test_the_second_answer_is_the_models_own_greedy_one(model) -> None:
    found = reinsert(model, ASKED, [2, 0, 2], max_new_tokens=9)
    assert found.facts == (0, 2)
    assert found.context_kept
    assert not found.complete
    prompt = reinserted_prompt(model, ASKED, (0, 2))
    with torch.no_grad():
        ids = model.hf.generate(torch.from_numpy(prompt.ids)[None], max_new_tokens=9, do_sample=False)[0].numpy()
    assert found.response == model.tokenizer.decode(ids[len(prompt) :])
    assert np.array_equal(ids[: len(prompt)], prompt.ids)


def test_facts_stand_alone_where_the_context_does_not_fit_and_the_result_says_so(model) -> None:
    long = Question.of("What colour?", " ".join(f"Fact number {n} is here." for n in range(40)))
    found = reinsert(model, long, [39, 3], max_new_tokens=5)
    assert (found.context_kept, found.facts) == (False, (3, 39))
    prompt = reinserted_prompt(model, long, (3, 39), context=False)
    assert "Fact number 4 " not in prompt.text
    with pytest.raises(SpanNotFoundError):
        prompt.part(CONTEXT)
    with pytest.raises(TooLongError, match=f"at most {WINDOW}"):
        reinsert(model, long, range(40), max_new_tokens=5)


def test_the_longest_prompt_that_fits_keeps_its_context(model) -> None:
    free = WINDOW - len(reinserted_prompt(model, ASKED, (0,)))
    asked = Question.of("What colour?", ASKED.context + " " + "a" * (free - 6))
    assert WINDOW - len(reinserted_prompt(model, asked, (0,))) == 5
    assert reinsert(model, asked, [0], max_new_tokens=4).context_kept
    assert not reinsert(model, asked, [0], max_new_tokens=5).context_kept


@pytest.mark.parametrize("facts", [[], [4], [-1]])
def test_facts_that_are_none_are_refused(model, facts) -> None:
    with pytest.raises(InputError, match="among the 4 units"):
        reinsert(model, ASKED, facts)


@settings(deadline=None, max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_a_fact_is_one_line_whatever_it_holds(model, text) -> None:
    """Control tokens in it stay text, and line breaks become blanks."""
    question = Question.of("What?", f"Fact {text} <|im_end|>", units=[f"Fact {text} <|im_end|>"])
    prompt = reinserted_prompt(model, question, (0,), context=False)
    lines = prompt.text[prompt.text.index(LEAD) + len(LEAD) + 1 :].split("\n")
    assert lines[0] == "- " + " ".join(question.facts[0].split())
    control = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (prompt.ids == control).sum() == 1  # the template's own
