"""Several of the last rows of a prompt, and pools of a span's rows: those of a trace, padded, cached, in one pass."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from heed.errors import InputError
from heed.model import Model, wrap
from heed.probe import (
    AllRowsMass,
    LastRow,
    LastRowMass,
    PooledMass,
    PrefixCache,
    TailMass,
    TailRows,
    TokenPull,
    read,
    trace,
)
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

EXACT = 2e-6
ROWS = (-6, -2, -1)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=3,
        max_position_embeddings=128,
    )
    hf = LlamaForCausalLM(config).eval()
    for layer in hf.model.layers:
        layer.self_attn.q_proj.weight.data.mul_(10.0)  # attention that differs from row to row
    return wrap(hf, name="llama")


def prompt(*parts: tuple[int, int]) -> Encoded:
    """Random tokens: for each part its length and its seed."""
    ids = np.concatenate([np.random.default_rng(seed).integers(3, 60, length) for length, seed in parts])
    return Encoded(ids=ids.astype(np.int64), offsets=np.zeros((len(ids), 2), dtype=np.int64), text="")


def tail(model: Model, prompts: list[Encoded], rows: tuple[int, ...] = ROWS, **how) -> np.ndarray:
    """``[B, L, H, R, T]``"""
    return read(model, prompts, {"tail": TailRows(rows)}, **how).stack("tail")


def test_they_are_the_rows_of_a_trace(model) -> None:
    text = prompt((23, 1))
    found, kept = tail(model, [text])[0], trace(model, text)
    for layer, key in enumerate(kept.layers):
        wanted = kept.views[key].rows([17, 21, 22])[0].numpy()
        np.testing.assert_allclose(found[layer], wanted, atol=EXACT)
    np.testing.assert_allclose(kept.ask(TailRows(ROWS)), found, atol=EXACT)
    assert np.abs(found[:, :, 0] - found[:, :, 1]).max() > 0.01


def test_the_last_one_alone_is_the_last_row(model) -> None:
    texts = [prompt((9, 1)), prompt((14, 2))]
    last = read(model, texts, {"row": LastRow()}).stack("row")
    np.testing.assert_allclose(tail(model, texts, (-1,))[:, :, :, 0], last, atol=EXACT)


@pytest.mark.parametrize("padding", ["right", "left"])
def test_rows_count_from_the_end_of_each_prompt_whatever_the_padding(model, padding) -> None:
    texts = [prompt((8, 1)), prompt((15, 2)), prompt((11, 3))]
    together = tail(model, texts, padding=padding)
    for item, text in enumerate(texts):
        first = together.shape[-1] - len(text) if padding == "left" else 0
        own = together[item, ..., first : first + len(text)]
        np.testing.assert_allclose(own, tail(model, [text])[0], atol=EXACT)
        np.testing.assert_allclose(own.sum(-1), 1.0, atol=1e-5)


def test_masses_and_pulls_are_made_of_these_rows(model) -> None:
    """Two kinds of weights; prompts of several lengths; shares of the second span, to first order."""
    texts = [prompt((9, 1)), prompt((15, 2))]
    spans = [(TokenSpan(0, 3), TokenSpan(3, 7)), (TokenSpan(0, 2), TokenSpan(5, 11))]
    weights = np.random.default_rng(0).normal(size=(2, len(ROWS), 3, 4)).astype(np.float32)
    probes = {"mass": TailMass(ROWS), "pull": TokenPull(ROWS, weights, span=1, floor=1e-3)}
    for how in ({}, {"prefix": PrefixCache()}):
        reading = read(model, texts, probes, spans=spans, **how)
        for item, own in enumerate(spans):
            rows = tail(model, [texts[item]])[0]  # L H R T
            mass = np.stack([rows[..., span.slice()].sum(-1) for span in own], -1)
            np.testing.assert_allclose(reading.stack("mass")[item], mass, atol=EXACT)
            wanted = np.zeros((3, 2, len(texts[item])))
            part = rows[..., own[1].slice()] / (mass[..., 1, None] + 1e-3)
            wanted[..., own[1].slice()] = np.einsum("lhrt,krlh->lkt", part, weights)
            found = reading.stack("pull")[item, ..., : len(texts[item])]
            np.testing.assert_allclose(found, wanted, atol=20 * EXACT)
    later = read(model, [texts[0]], probes, spans=spans[:1], new_tokens=2)
    assert later.stack("pull", 1).size == later.stack("mass", 1).size == 0


def test_it_says_how_many_rows_it_needs() -> None:
    assert TailMass(ROWS).last_rows == TokenPull(ROWS, np.zeros((1, 3, 3, 4)), span=0).last_rows == 6
    assert TailRows(ROWS).last_rows == 6
    assert TailRows((-1,)).last_rows == LastRow().last_rows == LastRowMass().last_rows == 1


def test_of_generated_tokens_nothing_is_kept(model) -> None:
    reading = read(model, [prompt((9, 1))], {"tail": TailRows(ROWS)}, new_tokens=3)
    assert [reading.stack("tail", step).size > 0 for step in range(len(reading.steps))] == [True, False, False]


def test_a_prefix_cache_leaves_the_rows_that_are_looked_from(model) -> None:
    """All but the last tokens are the same: without the tail they would come from the cache, unheard."""
    cache = PrefixCache()
    texts = [prompt((40, 5), (n, n)) for n in (2, 3, 4, 2)]
    for text in texts:
        reading = read(model, [text], {"tail": TailRows(ROWS)}, prefix=cache)
        np.testing.assert_allclose(reading.stack("tail"), tail(model, [text]), atol=EXACT)
    assert 0 < reading.reused_tokens <= len(text) - 6


def test_a_beginning_kept_for_one_row_is_not_used_where_more_are_needed(model) -> None:
    cache = PrefixCache()
    texts = [prompt((40, 5), (1, n)) for n in (1, 2, 3, 4)]
    for text in texts:
        last = read(model, [text], {"row": LastRow()}, prefix=cache)
    assert last.reused_tokens == 40
    several = read(model, [texts[0]], {"tail": TailRows(ROWS)}, prefix=cache)
    assert several.reused_tokens <= 35
    np.testing.assert_allclose(several.stack("tail"), tail(model, [texts[0]]), atol=EXACT)


def test_a_batch_behind_a_cache_reads_the_same(model) -> None:
    cache = PrefixCache()
    texts = [prompt((30, 5), (n, n)) for n in (7, 8, 9)]
    both = {"tail": TailRows(ROWS), "row": LastRow()}
    for _ in range(2):
        reading = read(model, texts, both, prefix=cache)
    assert reading.reused_tokens == 30
    np.testing.assert_allclose(reading.stack("tail"), tail(model, texts), atol=EXACT)


def test_probes_of_earlier_rows_are_refused_behind_a_cache(model) -> None:
    probes = {"tail": TailRows(ROWS), "all": AllRowsMass()}
    with pytest.raises(InputError, match="found all: earlier rows are not computed again"):
        read(model, [prompt((9, 1))], probes, prefix=PrefixCache())


SPANS = (TokenSpan(0, 3), TokenSpan(3, 8))


def spans(length: int) -> list[TokenSpan]:
    return [*SPANS, TokenSpan(8, length - 2)]


def pools(model, texts, *, tail: int = 100, **how) -> np.ndarray:
    """``[B, L, H, P, S]``"""
    own = [spans(len(text)) for text in texts]
    return read(model, texts, {"pools": PooledMass(2, tail)}, spans=own, **how).stack("pools")


def by_hand(model, text) -> np.ndarray:
    mass = read(model, [text], {"all": AllRowsMass()}, spans=[spans(len(text))]).stack("all")[0]
    logs = np.log(mass[:, :, 8 : len(text) - 2] + 1e-6)
    return np.stack([logs.mean(2), logs.max(2), logs.min(2), logs.std(2)], 2)


def test_they_are_pooled_from_the_rows_of_the_span(model) -> None:
    for length in (11, 23, 63):
        text = prompt((length, 1))
        np.testing.assert_allclose(pools(model, [text])[0], by_hand(model, text), atol=30 * EXACT)


@pytest.mark.parametrize("padding", ["right", "left"])
def test_padding_changes_no_pool(model, padding) -> None:
    texts = [prompt((12, 1)), prompt((31, 2)), prompt((20, 3))]
    for found, text in zip(pools(model, texts, padding=padding), texts, strict=True):
        np.testing.assert_allclose(found, by_hand(model, text), atol=30 * EXACT)


def test_a_cache_leaves_the_rows_that_are_pooled(model) -> None:
    cache = PrefixCache(shortest=4)
    texts = [prompt((8, 5), (n, n)) for n in (14, 15, 16, 17)]
    for text in texts:
        own = [spans(len(text))]
        probe = PooledMass(2, len(text) - 8)
        reading = read(model, [text], {"pools": probe}, spans=own, prefix=cache)
        np.testing.assert_allclose(reading.stack("pools")[0], by_hand(model, text), atol=30 * EXACT)
    assert reading.reused_tokens == 8


def test_of_generated_tokens_nothing_is_pooled(model) -> None:
    text = prompt((12, 1))
    reading = read(model, [text], {"pools": PooledMass(2, 10)}, spans=[spans(12)], new_tokens=2)
    assert [reading.stack("pools", step).size > 0 for step in range(len(reading.steps))] == [True, False]
