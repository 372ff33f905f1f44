"""Masses on facts: those of the model's own eager attention, from the right rows, whatever window or prefix."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from heed.citation.attention import calibrated_method, heads_method, looks_from, mean_method
from heed.citation.prompt import CONTEXT as CONTEXT_PART
from heed.citation.prompt import QUESTION, RESPONSE, encode_question
from heed.citation.question import Question
from heed.citation.reading import hear, hear_all, stretches
from heed.errors import InputError, TooLongError
from heed.model import Model
from heed.probe.prompt import tokenizer_of
from tiny import CONTEXT, HEADS, LAYERS, keen_model

EXACT = 2e-6
TEXT = "The sky is blue. Grass is green! Is 1.4 mg/dL high? Nobody knows."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return keen_model(tmp_path_factory.mktemp("keen"))


def eager(model: Model, ids: np.ndarray) -> np.ndarray:
    """``[L, H, T, T]``"""
    hf = model.hf
    before = hf.config._attn_implementation
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        found = hf(torch.from_numpy(ids)[None], output_attentions=True).attentions
    hf.set_attn_implementation(before)
    return torch.stack(found)[:, 0].numpy()


def mass_of(model: Model, question: Question, rows: Sequence[int]) -> np.ndarray:
    encoded = encode_question(question, tokenizer_of(model))
    maps = eager(model, encoded.ids)[:, :, list(rows)].mean(2)  # L H T
    start = encoded.part(CONTEXT_PART).start
    return np.stack([maps[..., start + u.start : start + u.end].sum(-1) for u in question.units], -1)


def test_question_rows_are_the_question_and_what_follows(model) -> None:
    question = Question.of("What colour?", TEXT)
    encoded = encode_question(question, tokenizer_of(model))
    asked = encoded.part(QUESTION)
    heard = hear(model, question, response=False)
    assert heard.mass.shape == (2, LAYERS, HEADS, 4)
    for group, rows in enumerate([range(asked.start, asked.end), range(asked.end, len(encoded))]):
        np.testing.assert_allclose(heard.mass[group], mass_of(model, question, rows), atol=EXACT)
    assert heard.rows.tolist() == [len(asked), len(encoded) - asked.end]
    assert heard.tokens.tolist() == [len(fact) for fact in question.facts]  # bytes are tokens here
    assert (heard.mass.sum(-1) <= heard.context + EXACT).all()


def test_answer_rows_are_its_sentences(model) -> None:
    question = Question.of("What colour?", TEXT, "It is blue. It is 1.4 times green.")
    encoded = encode_question(question, tokenizer_of(model))
    start = encoded.part(RESPONSE).start
    heard = hear(model, question, response=True)
    assert [question.response[span.slice()].strip() for span in heard.sentences] == [
        "It is blue.",
        "It is 1.4 times green.",
    ]
    for group, span in enumerate(heard.sentences):
        rows = range(start + span.start, start + span.end)
        np.testing.assert_allclose(heard.mass[group], mass_of(model, question, rows), atol=EXACT)
    spoken = [start + place for span in heard.sentences for place in range(span.start, span.end)]
    np.testing.assert_allclose(heard.whole, mass_of(model, question, spoken), atol=EXACT)


def test_question_rows_never_see_the_answer(model) -> None:
    asked = Question.of("What colour?", TEXT)
    with_answer = replace(asked, response="Blue, of course.")
    found, wanted = (hear(model, one, response=False).mass for one in (with_answer, asked))
    np.testing.assert_array_equal(found, wanted)


def test_questions_of_one_context_together_are_as_alone(model) -> None:
    asked = [Question.of(text, TEXT) for text in ("What colour?", "N/A", "Who knows about it, and since when?")]
    for one, heard in zip(asked, hear_all(model, asked, response=False), strict=True):
        np.testing.assert_allclose(heard.mass, hear(model, one, response=False).mass, atol=EXACT)


def test_depth_ends_the_pass(model) -> None:
    question = Question.of("What colour?", TEXT)
    whole = hear(model, question, response=False)
    np.testing.assert_array_equal(hear(model, question, response=False, depth=1).mass, whole.mass[:, :1])


def test_a_context_longer_than_the_window_is_read_in_stretches(model) -> None:
    question = Question.of("What colour?", " ".join(f"Fact number {n} is here." for n in range(40)))
    runs = stretches(model, question)
    assert runs[0][0] == 0
    assert runs[-1][1] == 40
    assert all(a[1] == b[0] for a, b in itertools.pairwise(runs))
    heard = hear(model, question, response=False)
    assert heard.windows == len(runs) > 1
    assert heard.mass.shape[-1] == 40
    first, stop = runs[1]
    end = question.units[stop].start if stop < 40 else len(question.context)
    part = Question.of("What colour?", question.context[question.units[first].start : end])
    np.testing.assert_allclose(heard.mass[..., first:stop], hear(model, part, response=False).mass, atol=EXACT)
    long = Question.of("q " * CONTEXT, TEXT)
    with pytest.raises(TooLongError, match="one fact"):
        hear(model, long, response=False)


def test_mean_and_heads_and_calibrated_are_what_they_say(model) -> None:
    question = Question.of("What colour?", TEXT)
    heard = hear(model, question, response=False)
    both = np.average(heard.mass, axis=0, weights=heard.rows)
    np.testing.assert_allclose(mean_method(model)(question).values, both.mean((0, 1)), atol=EXACT)
    np.testing.assert_allclose(mean_method(model, layers=0.5)(question).values, both[1].mean(0), atol=EXACT)
    np.testing.assert_allclose(
        mean_method(model, per_token=True)(question).values, both.mean((0, 1)) / heard.tokens, atol=EXACT
    )
    one = heads_method(model, [(0, 1)])(question)
    np.testing.assert_allclose(one.values, both[0, 1], atol=EXACT)
    nothing = mean_method(model)(replace(question, text="N/A")).values
    found = calibrated_method(model)(question)
    np.testing.assert_allclose(found.values, both.mean((0, 1)) - nothing, atol=EXACT)
    assert (found.passes, one.passes) == (2, 1)
    assert 0.0 < found.context_mass < 1.0


def test_bad_choices_are_refused(model) -> None:
    question = Question.of("What colour?", TEXT)
    with pytest.raises(InputError, match="none: give one"):
        looks_from(question, "response")
    with pytest.raises(InputError, match="'question' or 'response'"):
        looks_from(question, "both")
    with pytest.raises(InputError, match="share of layers"):
        mean_method(model, layers=0.0)
    with pytest.raises(InputError, match="within 2 x 2"):
        heads_method(model, [(2, 0)])
    with pytest.raises(InputError, match="expected a response"):
        hear(model, question, response=True)
