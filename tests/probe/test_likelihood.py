"""Log-probabilities of a stretch of a prompt: those of one plain forward, however it is cut, cached or windowed."""

import threading

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from heed.errors import InputError, TooLongError, UnsupportedModelError
from heed.interface.session import lock_of
from heed.model import Model, wrap
from heed.probe import PrefixCache, likelihood, next_token_divergence, token_logprobs
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

EXACT = 2e-5
SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
         "num_key_value_heads": 2, "num_hidden_layers": 3, "max_position_embeddings": 128}  # fmt: skip


def sharp(hf) -> Model:
    """Predictions that differ from row to row."""
    with torch.no_grad():
        hf.lm_head.weight.mul_(40.0)
        for layer in hf.model.layers:
            layer.self_attn.q_proj.weight.mul_(10.0)
    return wrap(hf.eval(), name="small")


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return sharp(LlamaForCausalLM(LlamaConfig(**SMALL)))


def prompt(*parts: tuple[int, int]) -> Encoded:
    """Random tokens: for each part its length and its seed."""
    ids = np.concatenate([np.random.default_rng(seed).integers(3, 60, length) for length, seed in parts])
    return Encoded(ids=ids.astype(np.int64), offsets=np.zeros((len(ids), 2), dtype=np.int64), text="")


def plain(model: Model, text: Encoded) -> torch.Tensor:
    """Log-probabilities ``[T, V]`` of one forward without cache."""
    with torch.no_grad():
        return model.hf(torch.from_numpy(text.ids)[None], use_cache=False).logits[0].log_softmax(-1)


def wanted(model: Model, text: Encoded, span: TokenSpan) -> np.ndarray:
    rows = plain(model, text)
    return np.array([float(rows[place - 1, text.ids[place]]) for place in range(span.start, span.end)])


@pytest.mark.parametrize("span", [(1, 2), (1, 64), (36, 99), (99, 100), (1, 100)])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_they_are_those_of_a_plain_forward(model, monkeypatch, span, block) -> None:
    monkeypatch.setattr(likelihood, "_BLOCK_ELEMENTS", block * 64)
    text, where = prompt((100, 1)), TokenSpan(*span)
    found = token_logprobs(model, text, where)
    np.testing.assert_allclose(found, wanted(model, text, where), atol=EXACT)
    assert found.shape == (len(where),)
    assert (found <= 0).all()
    assert found.min() < -4.0


def test_a_sliding_window_slides_through_the_blocks(monkeypatch) -> None:
    torch.manual_seed(0)
    model = sharp(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=9)))
    monkeypatch.setattr(likelihood, "_BLOCK_ELEMENTS", 5 * 64)
    text, where = prompt((63, 2)), TokenSpan(20, 63)
    np.testing.assert_allclose(token_logprobs(model, text, where), wanted(model, text, where), atol=EXACT)


def test_a_prefix_is_kept_and_changes_nothing(model) -> None:
    cache = PrefixCache()
    for n in (5, 6, 7, 8):
        text = prompt((40, 5), (20, n))
        where = TokenSpan(50, 60)
        np.testing.assert_allclose(
            token_logprobs(model, text, where, prefix=cache), wanted(model, text, where), atol=EXACT
        )
    (kept,) = cache._kept
    assert len(kept.ids) == 40


def test_a_prefix_ends_before_the_rows_that_are_wanted(model) -> None:
    cache, text = PrefixCache(), prompt((60, 5))
    for _ in range(3):
        found = token_logprobs(model, text, TokenSpan(20, 60), prefix=cache)
        np.testing.assert_allclose(found, wanted(model, text, TokenSpan(20, 60)), atol=EXACT)
    assert max(len(kept.ids) for kept in cache._kept) <= 19


def test_the_head_sees_the_wanted_rows_only_a_block_at_a_time(model, monkeypatch) -> None:
    monkeypatch.setattr(likelihood, "_BLOCK_ELEMENTS", 10 * 64)
    seen = []
    hook = model.hf.lm_head.register_forward_hook(lambda module, inputs, out: seen.append(out.shape[1]))
    token_logprobs(model, prompt((100, 1)), TokenSpan(70, 95))
    hook.remove()
    assert seen == [10, 10, 5]


def test_divergence_is_that_of_the_two_distributions(model, monkeypatch) -> None:
    monkeypatch.setattr(likelihood, "_BLOCK_ELEMENTS", 4 * 64)
    long, short = prompt((63, 1), (11, 9)), prompt((5, 2), (11, 9))
    found = next_token_divergence(model, long, TokenSpan(63, 74), short, TokenSpan(5, 16))
    p, q = plain(model, long)[63:74], plain(model, short)[5:16]
    np.testing.assert_allclose(found, [float((a.exp() * (a - b)).sum()) for a, b in zip(p, q, strict=True)], atol=1e-4)
    assert found.min() > 0.01
    assert found.shape == (11,)


def test_a_prompt_does_not_diverge_from_itself(model) -> None:
    text = prompt((30, 1))
    found = next_token_divergence(model, text, TokenSpan(0, 30), text, TokenSpan(0, 30))
    np.testing.assert_array_equal(found, np.zeros(30))


def test_impossible_tokens_add_nothing_to_a_divergence() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    others = torch.tensor([[0.0, np.log(3.0), -torch.inf]])
    found = likelihood._divergence(logits, others)
    np.testing.assert_allclose(found, [0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)], rtol=1e-5)


@pytest.mark.parametrize("span", [(0, 3), (4, 4), (5, 11)])
def test_stretches_that_nothing_precedes_or_that_leave_the_prompt_are_refused(model, span) -> None:
    with pytest.raises(InputError, match="behind the first of a prompt of 10"):
        token_logprobs(model, prompt((10, 1)), TokenSpan(*span))


@pytest.mark.parametrize(("rows", "others"), [((3, 3), (3, 3)), ((1, 11), (0, 10)), ((1, 5), (1, 6))])
def test_rows_that_are_no_pairs_are_refused(model, rows, others) -> None:
    with pytest.raises(InputError, match="compare the tokens of one text"):
        next_token_divergence(model, prompt((10, 1)), TokenSpan(*rows), prompt((10, 2)), TokenSpan(*others))


def test_models_and_prompts_it_cannot_take_are_refused(model) -> None:
    with pytest.raises(TooLongError, match="at most 128"):
        token_logprobs(model, prompt((129, 1)), TokenSpan(1, 2))
    config = T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    t5 = wrap(T5ForConditionalGeneration(config).eval(), name="t5")
    headless = wrap(model.hf.model, name="headless")
    for other in (t5, headless):
        with pytest.raises(UnsupportedModelError, match="predicts no next token"):
            token_logprobs(other, prompt((9, 1)), TokenSpan(1, 2))


def test_the_model_is_free_between_blocks(model, monkeypatch) -> None:
    """Another thread may use it while a caller looks at a block."""
    monkeypatch.setattr(likelihood, "_BLOCK_ELEMENTS", 4 * 64)
    blocks = likelihood._logits(model, prompt((20, 1)), TokenSpan(2, 19), None)
    next(blocks)
    got = []

    def use() -> None:
        got.append(lock_of(model.hf).acquire(timeout=5))
        lock_of(model.hf).release()

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert got == [True]
    assert sum(len(block) for block in blocks) == 13
