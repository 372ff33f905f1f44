"""Transformer blocks beside torch's, step by step beside all at once, and checkpointed beside plain."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heed.attention import (
    AttentionConfig,
    DecoderKeyValue,
    DistanceAttention,
    FeedForward,
    KeyValue,
    TransformerDecoderBlock,
    TransformerEncoderBlock,
)
from heed.errors import InputError

DOT = AttentionConfig(metric="dot", scale="sqrt_dim", init_qk="independent")
SIZES: dict[str, Any] = {"d_model": 12, "nhead": 3, "dim_feedforward": 20, "dropout": 0.0}


def copy_attention(ours: DistanceAttention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        projections = zip((ours.q_proj, ours.k_proj, ours.v_proj), theirs.in_proj_weight.chunk(3), strict=True)
        for projection, weight in projections:
            projection.weight.copy_(weight)
        ours.o_proj.load_state_dict(theirs.out_proj.state_dict())


def copy_block(ours: Any, theirs: Any, norms: int) -> None:
    ours.feed_forward.up.load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward.down.load_state_dict(theirs.linear2.state_dict())
    copy_attention(ours.self_attn, theirs.self_attn)
    for number in range(1, norms + 1):
        getattr(ours, f"norm{number}").load_state_dict(getattr(theirs, f"norm{number}").state_dict())


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_encoder_block_by_dot_product_is_torchs(norm_first: bool, batch_first: bool, activation: Any) -> None:
    options = {**SIZES, "norm_first": norm_first, "batch_first": batch_first, "activation": activation}
    theirs = nn.TransformerEncoderLayer(**options).double()
    ours = TransformerEncoderBlock(**options, attention=DOT).double()
    copy_block(ours, theirs, 2)
    x = torch.randn(5, 5, 12, dtype=torch.float64)
    real = torch.rand(5, 5) < 0.7
    real[:, 0] = True
    wanted = theirs(x, src_key_padding_mask=~real)
    torch.testing.assert_close(ours(x, key_mask=real), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_the_decoder_block_by_dot_product_is_torchs(norm_first: bool, batch_first: bool) -> None:
    options = {**SIZES, "norm_first": norm_first, "batch_first": batch_first}
    theirs = nn.TransformerDecoderLayer(**options, activation="gelu").double()
    ours = TransformerDecoderBlock(**options, attention=DOT).double()
    copy_block(ours, theirs, 3)
    copy_attention(ours.cross_attn, theirs.multihead_attn)
    x, memory = torch.randn(4, 4, 12, dtype=torch.float64), torch.randn(7, 7, 12, dtype=torch.float64)
    memory = memory[:4] if batch_first else memory[:, :4]
    hidden = torch.ones(4, 4, dtype=torch.bool).triu(1)
    seen = torch.rand(4, 7) < 0.8
    seen[:, 0] = True
    wanted = theirs(x, memory, tgt_mask=hidden, memory_mask=~seen)
    torch.testing.assert_close(ours(x, memory, memory_mask=seen), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("metric", ["l1", "chebyshev", "dot"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_block_decodes_step_by_step(metric: str, norm_first: bool) -> None:
    config = AttentionConfig(metric=metric, positions="alibi", num_key_value_heads=1)
    block = TransformerEncoderBlock(**SIZES, norm_first=norm_first, activation="swiglu", attention=config).eval()
    x, cache = torch.randn(2, 9, 12), KeyValue()
    steps = [block(piece, is_causal=True, cache=cache) for piece in x.split([3, 1, 1, 2, 1, 1], 1)]
    assert (torch.cat(steps, 1) - block(x, is_causal=True)).abs().max() <= 1e-5


def test_a_decoder_block_decodes_step_by_step() -> None:
    config = AttentionConfig(metric=("l2", "l21", "cosine"), positions="rotary")
    block = TransformerDecoderBlock(**SIZES, attention=config).eval()
    x, memory, cache = torch.randn(2, 9, 12), torch.randn(2, 5, 12), DecoderKeyValue()
    steps = [block(piece, memory, cache=cache) for piece in x.split(1, 1)]
    assert (cache.own.length, cache.memory.length) == (9, 5)
    assert (torch.cat(steps, 1) - block(x, memory)).abs().max() <= 1e-5


def gradients(block: nn.Module, *inputs: Tensor) -> list[Tensor]:
    torch.manual_seed(5)
    leaves = [x.clone().requires_grad_() for x in inputs]
    block.zero_grad()
    block(*leaves).square().sum().backward()
    return [
        *(x.grad for x in leaves if x.grad is not None),
        *(p.grad for p in block.parameters() if p.grad is not None),
    ]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointing_leaves_gradients_as_they_are(dropout: float) -> None:
    config = AttentionConfig(metric="l1", dropout=dropout, learnable_lambda=True)
    options = {**SIZES, "dropout": dropout, "attention": config}
    x, memory = torch.randn(2, 7, 12), torch.randn(2, 5, 12)
    encoder, decoder = TransformerEncoderBlock(**options), TransformerDecoderBlock(**options)
    for block, inputs in ((encoder, (x,)), (decoder, (x, memory))):
        plain = gradients(block, *inputs)
        block.gradient_checkpointing = True
        for grad, wanted in zip(gradients(block, *inputs), plain, strict=True):
            torch.testing.assert_close(grad, wanted)


def test_checkpointing_keeps_less_and_refuses_a_cache() -> None:
    block = TransformerEncoderBlock(**SIZES)
    x = torch.randn(2, 7, 12, requires_grad=True)

    def kept() -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            block(x)
        return sum(sizes)

    plain = kept()
    block.gradient_checkpointing = True
    assert kept() < plain / 4
    with pytest.raises(InputError, match="fill the cache twice"):
        block(x, is_causal=True, cache=KeyValue())
    block.eval()
    assert block(x, is_causal=True, cache=KeyValue()).shape == x.shape


def test_swiglu_gates() -> None:
    layer = FeedForward(4, 6, activation="swiglu", bias=False)
    x = torch.randn(3, 4)
    assert layer.gate is not None
    gate = x @ layer.gate.weight.T
    wanted = ((gate * gate.sigmoid()) * (x @ layer.up.weight.T)) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nhead": 5}, "5 does not divide 12"),
        ({"activation": "swish"}, "swiglu"),
        ({"dim_feedforward": 0}, "dim_feedforward"),
        ({"dropout": 1.5}, "dropout"),
        ({"attention": AttentionConfig(num_key_value_heads=2)}, "2 does not divide 3"),
    ],
)
@pytest.mark.parametrize("block", [TransformerEncoderBlock, TransformerDecoderBlock])
def test_bad_options(block: type[nn.Module], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        block(**{**SIZES, **options})
