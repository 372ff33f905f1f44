"""ATTRIEVAL on a model: its numbers from plain eager attention by loops, and the defects of the public prototype.

The defects are those of the first public implementation; each has a test of its name.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from answering import answering_model
from heed.citation.attrieval import FEWEST_ROWS, sift
from heed.citation.attrieval_method import attrieval_method, last_layers
from heed.citation.generate import generate
from heed.citation.prompt import CONTEXT, QUESTION, RESPONSE, encode_question, tokens_of
from heed.citation.question import Question
from heed.citation.reading import stretches
from heed.citation.retriever import retriever_rows, short_prompt
from heed.citation.scores import ranked
from heed.errors import HeedError, InputError, TooLongError
from heed.model import Model
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.text.span import CharSpan, TokenSpan
from tiny import CONTEXT as WINDOW
from tiny import LAYERS, tiny_tokenizer

EXACT = 2e-6
TEXT = "The sky is blue. Grass is green! Is 1.4 mg/dL high? Nobody knows (see Fig. 2)."
ASKED = Question.of("What colour?", TEXT, "It is blue. It is 1.4 times green.")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return answering_model(tmp_path_factory.mktemp("answering"))


def eager(model: Model, ids: np.ndarray, layers: int) -> np.ndarray:
    """Mean over heads and the last layers, ``[T, T]``."""
    hf = model.hf
    before = hf.config._attn_implementation
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        found = hf(torch.from_numpy(ids)[None], output_attentions=True).attentions[-layers:]
    hf.set_attn_implementation(before)
    return torch.stack(found)[:, 0].mean((0, 1)).numpy()


def equation_7(rows: np.ndarray, question: Question, start: int) -> list[float]:
    """By loops; bytes are tokens here, so that characters of the context are columns."""
    means = []
    for fact in question.units:
        own = [row[start + place] for row in rows for place in range(fact.start, fact.end)]
        means.append(sum(own) / len(own))
    return means


def test_the_method_is_its_equations_on_eager_attention(model) -> None:
    encoded = encode_question(ASKED, tokenizer_of(model))
    start, answer = encoded.part(CONTEXT).start, encoded.part(RESPONSE)
    maps = eager(model, encoded.ids, 1)
    found = attrieval_method(model, threshold=1.0, top_k=3)(ASKED)
    np.testing.assert_allclose(found.values, equation_7(maps[answer.slice()], ASKED, start), atol=EXACT)
    own = maps[answer.slice(), start : start + len(TEXT)]
    tops = [set(sorted(range(len(TEXT)), key=lambda i: -row[i])[:3]) for row in own]
    wanted = [np.mean([bool(top & set(range(u.start, u.end))) for top in tops]) for u in ASKED.units]
    np.testing.assert_allclose(found.frequency, wanted)
    np.testing.assert_allclose(found.context_mass, own.sum(1).mean(), atol=EXACT)
    assert (found.passes, found.windows, found.sentences.shape) == (1, 1, (2, 4))
    for place, span in enumerate((CharSpan(0, 11), CharSpan(12, 34))):
        rows = maps[answer.start + span.start : answer.start + span.end]
        np.testing.assert_allclose(found.sentences[place], equation_7(rows, ASKED, start), atol=EXACT)


def test_without_an_answer_the_question_looks(model) -> None:
    asked = replace(ASKED, response=None)
    encoded = encode_question(asked, tokenizer_of(model))
    rows = eager(model, encoded.ids, 1)[encoded.part(QUESTION).slice()]
    found = attrieval_method(model, threshold=1.0)(asked)
    np.testing.assert_allclose(found.values, equation_7(rows, asked, encoded.part(CONTEXT).start), atol=EXACT)
    assert found.sentences is None
    np.testing.assert_array_equal(attrieval_method(model, rows="question", threshold=1.0)(ASKED).values, found.values)


def test_the_share_of_layers_counts_from_the_last(model) -> None:
    keys = layers_of(model).keys
    assert last_layers(model, 0.25) == keys[-1:]
    assert last_layers(model, 1.0) == keys
    assert len(keys) == LAYERS
    encoded = encode_question(ASKED, tokenizer_of(model))
    rows = eager(model, encoded.ids, LAYERS)[encoded.part(RESPONSE).slice()]
    found = attrieval_method(model, layer_fraction=1.0, threshold=1.0)(ASKED).values
    np.testing.assert_allclose(found, equation_7(rows, ASKED, encoded.part(CONTEXT).start), atol=EXACT)


def test_a_context_longer_than_the_window_is_read_in_stretches(model) -> None:
    long = Question.of("What colour?", " ".join(f"Fact number {n} is here." for n in range(40)), "It is. Is it?")
    runs = stretches(model, long)
    found = attrieval_method(model, top_k=2)(long)
    assert found.windows == found.passes == len(runs) > 1
    assert found.values.shape == found.frequency.shape == (40,)
    assert found.sentences.shape == (2, 40)
    first, stop = runs[-1]
    part = Question.of(long.text, long.context[long.units[first].start :], long.response)
    alone = attrieval_method(model, top_k=2)(part)
    np.testing.assert_allclose(found.values[first:stop], alone.values, atol=EXACT)
    np.testing.assert_allclose(found.sentences[:, first:stop], alone.sentences, atol=EXACT)
    with pytest.raises(TooLongError, match="one fact"):
        attrieval_method(model)(Question.of("q " * WINDOW, TEXT, "It is."))


def test_defect_1_only_the_rows_of_the_answer_count(model) -> None:
    """All rows together would favour the first facts, which more rows can see."""
    encoded = encode_question(ASKED, tokenizer_of(model))
    maps, start = eager(model, encoded.ids, 1), encoded.part(CONTEXT).start
    found = attrieval_method(model, threshold=1.0)(ASKED).values
    assert np.abs(found - equation_7(maps, ASKED, start)).max() > 100 * EXACT
    np.testing.assert_allclose(found, equation_7(maps[encoded.part(RESPONSE).slice()], ASKED, start), atol=EXACT)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=6))
def test_defect_2_facts_keep_their_tokens_whatever_stands_between_them(pieces) -> None:
    """Dropped punctuation, blanks, the chat prefix and characters of many bytes move nothing."""
    context = "A first fact. " + "".join(f"{piece} !?… Fact {n} é\u00fc😀 here.\n\n" for n, piece in enumerate(pieces))
    tokenizer = tiny_tokenizer()
    question = Question.of("What?", context)
    encoded = encode_question(question, tokenizer)
    for fact, tokens in zip(question.facts, tokens_of(encoded, CONTEXT, question.units), strict=True):
        assert tokenizer.decode(encoded.ids[tokens.slice()], skip_special_tokens=False) == fact


def test_defect_3_numbers_and_abbreviations_stay_whole() -> None:
    context = "Creatinine was 1.4 mg/dL. Arterial pH 7.44 was normal. Fig. 2 shows it."
    assert Question.of("What?", context).facts == (
        "Creatinine was 1.4 mg/dL.",
        "Arterial pH 7.44 was normal.",
        "Fig. 2 shows it.",
    )


def test_defect_4_a_first_fact_with_a_sink_token_can_win() -> None:
    rows = np.full((FEWEST_ROWS, 30), 0.001)
    rows[:, 0] = 0.5  # the sink
    rows[np.arange(FEWEST_ROWS), 1 + np.arange(FEWEST_ROWS) % 4] = 0.2  # what the first fact says
    facts = (TokenSpan(0, 10), TokenSpan(10, 20), TokenSpan(20, 30))
    as_published = sift(rows, facts, sink="paper", top_k=2)
    assert as_published.discarded[0]
    assert ranked(as_published.scores(rows))[-1] == 0
    found = sift(rows, facts, sink="token", top_k=2)
    assert not found.counted[0]
    assert ranked(found.scores(rows))[0] == 0


def test_defect_5_the_answers_own_tokens_crowd_nothing_out(model) -> None:
    """Columns are the context's alone; how much attention reached it at all is told beside."""
    encoded = encode_question(ASKED, tokenizer_of(model))
    maps, answer = eager(model, encoded.ids, 1), encoded.part(RESPONSE)
    heaviest = np.argpartition(-maps[answer.slice()], 4, axis=1)[:, :5]
    outside = (heaviest < encoded.part(CONTEXT).start) | (heaviest >= encoded.part(CONTEXT).end)
    assert outside.all(1).any()  # rows whose five heaviest columns lie outside of the context
    found = attrieval_method(model, top_k=5, threshold=1.0, sink="paper")(ASKED)
    columns = encoded.part(CONTEXT).slice()
    facts = tokens_of(encoded, CONTEXT, ASKED.units)
    own = sift(maps[answer.slice(), columns], [f.shift(-columns.start) for f in facts], top_k=5, sink="paper")
    np.testing.assert_allclose(found.frequency, own.frequency)
    np.testing.assert_allclose(found.context_mass, maps[answer.slice(), columns].sum(1).mean(), atol=EXACT)
    assert 0.0 < found.context_mass < 1.0


def plain_divergence(model: Model, prompts, starts, n: int) -> np.ndarray:
    with torch.no_grad():
        p, q = (
            model.hf(torch.from_numpy(one.ids)[None], use_cache=False).logits[0, start : start + n].log_softmax(-1)
            for one, start in zip(prompts, starts, strict=True)
        )
    return (p.exp() * (p - q)).sum(-1).numpy()


@pytest.mark.parametrize("retriever", ["question", "facts"])
def test_defect_6_retriever_rows_are_rows_of_the_answer_in_the_long_prompt(model, retriever) -> None:
    tokenizer, encoded = tokenizer_of(model), encode_question(ASKED, tokenizer_of(model))
    answer = encoded.part(RESPONSE)
    everything = attrieval_method(model, threshold=1.0)(ASKED)
    best = sorted(ranked(everything.values)[:10]) if retriever == "facts" else []
    context = " ".join(ASKED.facts[fact] for fact in best)
    short = encode_question(replace(ASKED, context=context), tokenizer)
    starts = answer.start, short.part(RESPONSE).start
    assert starts[0] != starts[1] or retriever == "facts"
    change = plain_divergence(model, (encoded, short), starts, len(answer))
    chosen = sorted(range(len(answer)), key=lambda t: -change[t])[:5]
    rows = eager(model, encoded.ids, 1)[[answer.start + t for t in chosen]]
    found = attrieval_method(model, threshold=1.0, retriever=retriever, n_retriever=5)(ASKED)
    np.testing.assert_allclose(found.values, equation_7(rows, ASKED, encoded.part(CONTEXT).start), atol=EXACT)
    np.testing.assert_array_equal(found.sentences, everything.sentences)  # of these all rows count
    np.testing.assert_array_equal(found.frequency, everything.frequency)
    assert (found.passes, everything.passes) == (3, 1)
    assert np.abs(found.values - everything.values).max() > 10 * EXACT


def test_retriever_rows_number_the_answers_tokens(model) -> None:
    encoded = encode_question(ASKED, tokenizer_of(model))
    answer = encoded.part(RESPONSE)
    few, all_of_them = (retriever_rows(model, ASKED, encoded, answer, n=n) for n in (4, 1000))
    assert few.tolist() == sorted(few.tolist())
    assert len(few) == 4
    assert all_of_them.tolist() == list(range(len(answer)))
    short, rows = short_prompt(ASKED, tokenizer_of(model), encoded.ids[answer.slice()], ["Grass is green!"])
    np.testing.assert_array_equal(short.ids[rows.slice()], encoded.ids[answer.slice()])
    assert "Grass is green!" in short.text
    assert "sky" not in short.text


def test_defect_7_the_tokens_that_are_read_are_those_that_were_generated(model) -> None:
    """Question, template and the whole context stand in the prompt, and the answer's tokens are the model's own."""
    context = " ".join(f"Fact {n} is here." for n in range(20))
    asked = Question.of("What colour?", context)
    prompt = encode_question(asked, tokenizer_of(model))
    assert context in prompt.text
    assert prompt.text.index(context) < prompt.text.index(asked.text)
    made = generate(model, prompt, max_new_tokens=12)
    with torch.no_grad():
        wanted = model.hf.generate(torch.from_numpy(prompt.ids)[None], max_new_tokens=12, do_sample=False)[0].numpy()
    np.testing.assert_array_equal(made.prompt.ids, wanted)


def test_defect_8_nothing_is_switched_off_in_silence(model) -> None:
    with pytest.raises(TypeError, match="attention_weights"):
        attrieval_method(model, attention_weights=None)
    with pytest.raises(InputError, match="expected a response for retriever tokens"):
        attrieval_method(model, retriever="question")(replace(ASKED, response=None))
    with pytest.raises(InputError, match="expected a response to look from"):
        attrieval_method(model, rows="response")(replace(ASKED, response=None))
    for wrong in ({"retriever": "kl"}, {"n_retriever": 0}, {"layer_fraction": 0.0}, {"top_k": 0}, {"sink": "none"}):
        with pytest.raises(InputError, match="expected"):
            attrieval_method(model, **wrong)


def test_defect_9_the_model_is_left_as_it_was(model) -> None:
    def state() -> tuple:
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules()]
        config = model.hf.config
        return (
            config._attn_implementation,
            model.hf.is_activation_checkpointing,
            model.hf.training,
            config.use_cache,
            hooks,
        )

    before = state()
    attrieval_method(model, retriever="facts")(ASKED)
    assert state() == before
    with pytest.raises(HeedError):
        attrieval_method(model)(Question.of("q " * WINDOW, TEXT, "It is."))
    assert state() == before


def test_attention_that_is_not_finite_is_refused(tmp_path) -> None:
    broken = answering_model(tmp_path)
    with torch.no_grad():
        broken.hf.model.layers[1].self_attn.k_proj.weight.fill_(torch.nan)
    with pytest.raises(InputError, match="expected finite attention"):
        attrieval_method(broken)(ASKED)
