"""A whole prompt kept for its variants: as much of it is used as they begin with, and nothing else changes."""

import numpy as np
import pytest

from heed.probe.layers import layers_of
from heed.probe.likelihood import token_logprobs
from heed.probe.prefix import PromptCache
from heed.probe.prompt import encode_prompt
from heed.text.span import TokenSpan
from tiny import keen_model

TEXT = "The sky is blue. Grass is green. Water is wet. Fire is hot."


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return keen_model(tmp_path_factory.mktemp("tiny"))


def reused(model, cache: PromptCache, text: str, tail: int = 1) -> int:
    known = layers_of(model)
    ids = encode_prompt(model, text).ids
    return cache.start(model, [ids], last=known.last_of(known.keys), tail=tail)[0]


def kept(model, text: str = TEXT) -> PromptCache:
    return PromptCache(prompt=encode_prompt(model, text).ids)


def test_as_much_is_reused_as_is_shared(model):
    cache = kept(model)
    assert reused(model, cache, TEXT[:40] + "!" * 20) == 40
    assert reused(model, cache, TEXT) == len(TEXT) - 1
    assert reused(model, cache, TEXT, tail=9) == len(TEXT) - 9
    assert reused(model, cache, TEXT + "!" * 9) == len(TEXT)


def test_a_beginning_too_short_to_pay_is_not(model):
    cache = kept(model)
    assert reused(model, cache, TEXT[:15] + "!" * 9) == 0
    assert reused(model, cache, TEXT[:20] + "!" * 80) == 0
    assert not cache._kept


@pytest.mark.parametrize("cut", [16, 17, 33, 58])
def test_log_probabilities_stay_the_same(model, cut):
    cache = kept(model)
    for text in (TEXT, TEXT[:cut] + " Ice!", TEXT):
        prompt = encode_prompt(model, text)
        span = TokenSpan(len(prompt) - 4, len(prompt))
        plain = token_logprobs(model, prompt, span)
        np.testing.assert_allclose(token_logprobs(model, prompt, span, prefix=cache), plain, atol=1e-4)
    assert len(cache._kept) == 1


def test_another_model_gets_keys_of_its_own(model, tmp_path):
    cache = kept(model)
    assert reused(model, cache, TEXT) > 0
    other = keen_model(tmp_path)
    with_cache = token_logprobs(other, encode_prompt(other, TEXT), TokenSpan(50, 59), prefix=cache)
    np.testing.assert_allclose(
        with_cache, token_logprobs(other, encode_prompt(other, TEXT), TokenSpan(50, 59)), atol=1e-4
    )
    assert cache._kept[0].model() is other.hf
