"""Configurations go to plain values and back, and say what they do not know."""

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.attention import METRICS, AttentionConfig, ModelConfig
from heed.errors import InputError

NAMES = sorted(set(METRICS) - {"lp", "smooth_chebyshev"})

attention = st.builds(
    AttentionConfig,
    metric=st.one_of(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple)),
    lambda_param=st.one_of(st.floats(0.01, 100), st.lists(st.floats(0.01, 100), min_size=1, max_size=4).map(tuple)),
    learnable_lambda=st.booleans(),
    scale=st.one_of(st.sampled_from(["sqrt_dim", "unit_variance"]), st.floats(0.01, 10)),
    window=st.none() | st.integers(1, 99),
    dropout=st.floats(0, 0.9),
    positions=st.sampled_from(["none", "rotary", "alibi"]),
    init_qk=st.sampled_from(["tied", "independent"]),
    num_key_value_heads=st.sampled_from([None, 1, 2, 4]),
)


@given(attention, st.integers(1, 50_000), st.sampled_from(["causal_lm", "classification"]))
def test_a_trip_through_json_changes_nothing(config: AttentionConfig, vocab: int, head: Any) -> None:
    assert AttentionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    model = ModelConfig(vocab_size=vocab, head=head, attention=config)
    assert ModelConfig.from_dict(json.loads(json.dumps(model.to_dict()))) == model


@pytest.mark.parametrize("options", [{"metric": "lp", "p": 1.5}, {"metric": ("l1", "smooth_chebyshev"), "beta": 4.0}])
def test_p_and_beta_survive(options: dict[str, Any]) -> None:
    config = AttentionConfig(**options)
    assert AttentionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        AttentionConfig().metric = "l2"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocab_size": 9, "d_modle": 8}, "no option 'd_modle'; did you mean 'd_model'"),
        ({"vocab_size": 9, "attention": {"metrik": "l1"}}, "no option 'metrik'; did you mean 'metric'"),
        ({"d_model": 8}, "needs vocab_size; found d_model"),
        ({"vocab_size": 0}, "vocab_size must be a whole number"),
        ({"vocab_size": "9"}, "vocab_size must be a whole number"),
        ({"vocab_size": 9, "nhead": 3}, "3 does not divide 128"),
        ({"vocab_size": 9, "head": "lm"}, "head must be one of"),
        ({"vocab_size": 9, "positions": "rotary"}, "positions must be one of"),
        ({"vocab_size": 9, "pooling": "max"}, "pooling must be one of"),
        ({"vocab_size": 9, "pad_id": 9}, r"pad_id must lie in \[0, vocab_size\)"),
        ({"vocab_size": 9, "attention": "l1"}, "must be an AttentionConfig, found str"),
        ({"vocab_size": 9, "attention": {"metric": "manhattan"}}, "found 'manhattan'"),
        ({"vocab_size": 9, "attention": {"num_key_value_heads": 3}}, "3 does not divide 4"),
        ({"vocab_size": 9, "attention": {"rope_theta": -1.0}}, "rope_theta"),
    ],
)
def test_what_a_configuration_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModelConfig.from_dict(values)
