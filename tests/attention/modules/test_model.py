"""`AttentionModel`: it learns, writes with a cache as it reads without, and comes back from its folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from heed.attention import AttentionConfig, AttentionModel, ModelConfig
from heed.errors import BrokenModelError, InputError, ModelNotFoundError, TooLongError

L2 = AttentionConfig(metric="l2", lambda_param=2.0)


def small(**options: Any) -> AttentionModel:
    sizes = {"vocab_size": 13, "d_model": 16, "nhead": 2, "dim_feedforward": 24, "attention": L2}
    return AttentionModel(ModelConfig(**{**sizes, **options}))


ATTENTIONS = {
    "l1 alibi": AttentionConfig(metric="l1", positions="alibi"),
    "l21 rotary": AttentionConfig(metric="l21", positions="rotary", num_key_value_heads=1),
    "mixed window": AttentionConfig(metric=("dot", "chebyshev"), window=3, learnable_lambda=True),
}


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
@pytest.mark.parametrize("positions", ["none", "sinusoidal", "learned"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_step_by_step_equals_all_at_once(attention: AttentionConfig, positions: Any, norm_first: bool) -> None:
    model = small(attention=attention, positions=positions, norm_first=norm_first).eval()
    ids, cache = torch.randint(13, (2, 9)), model.new_cache()
    steps = torch.cat([model(piece, cache=cache) for piece in ids.split([4, 1, 1, 2, 1], 1)], 1)
    assert (steps - model(ids)).abs().max() <= 1e-5


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_padding_on_the_left_changes_nothing(attention: AttentionConfig, positions: Any) -> None:
    model = small(attention=attention, positions=positions).eval()
    short, long = torch.randint(13, (1, 4)), torch.randint(13, (1, 7))
    ids = torch.cat([functional.pad(short, (3, 0)), long])
    real = torch.tensor([[False] * 3 + [True] * 4, [True] * 7])
    for cached in (True, False):
        both = model.generate(ids, 6, key_mask=real, use_cache=cached)
        assert torch.equal(both[0, 3:], model.generate(short, 6)[0])
        assert torch.equal(both[1], model.generate(long, 6)[0])


def test_it_learns_to_copy_and_writes_what_it_learned() -> None:
    model = small(attention=AttentionConfig(metric="l1", learnable_lambda=True))
    text = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(35):
        optimizer.zero_grad()
        functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[0, 1:]).backward()
        optimizer.step()
    model.eval()
    assert torch.equal(model.generate(text[:, :3], 9), text)
    stopped = model.generate(text[:, :3].repeat(2, 1), 9, eos_id=6)
    assert torch.equal(stopped, text[:, :6].repeat(2, 1))


def test_a_finished_text_is_filled_with_padding() -> None:
    model = small().eval()
    ids = torch.randint(1, 13, (3, 4))
    plain = model.generate(ids, 8)
    eos = int(plain[0, 4])
    written = model.generate(ids, 8, eos_id=eos)
    assert bool((written[0, 5:] == model.config.pad_id).all())
    for row in range(3):
        ends = (plain[row, 4:] == eos).nonzero()
        until = 4 + int(ends[0]) + 1 if len(ends) else 12
        assert torch.equal(written[row, :until], plain[row, : min(until, written.shape[1])])


def test_sampling_is_seeded_and_within_the_top() -> None:
    model = small().eval()
    ids = torch.randint(13, (4, 5))
    draws = [
        model.generate(ids, 6, temperature=2.0, top_k=3, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    top = model(ids)[:, -1].topk(3).indices
    assert all(int(draws[2][row, 5]) in top[row].tolist() for row in range(4))
    assert torch.equal(model.generate(ids, 6, temperature=1.0, top_k=1), model.generate(ids, 6))


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_a_classifier_does_not_see_padding(pooling: Any) -> None:
    model = small(head="classification", num_classes=3, pooling=pooling).eval()
    ids = torch.randint(13, (2, 6))
    alone = model(ids)
    assert alone.shape == (2, 3)
    for left in (0, 2):
        padded = functional.pad(ids, (left, 2 - left), value=7)
        real = functional.pad(torch.ones(2, 6, dtype=torch.bool), (left, 2 - left))
        torch.testing.assert_close(model(padded, key_mask=real), alone, rtol=1e-4, atol=1e-5)


def test_checkpointing_gives_the_same_gradients() -> None:
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(2)
        model = small(gradient_checkpointing=checkpointing, dropout=0.2)
        model(torch.randint(13, (2, 7))).square().mean().backward()
        grads.append([p.grad for p in model.parameters()])
    for plain, again in zip(*grads, strict=True):
        torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("options", [{}, {"tie_embeddings": False}, {"head": "classification"}, {"norm_first": False}])
def test_a_model_comes_back_from_its_folder(tmp_path: Path, options: dict[str, Any]) -> None:
    model = small(attention=ATTENTIONS["mixed window"], **options).double().eval()
    model.save(tmp_path / "new" / "folder")
    again = AttentionModel.load(tmp_path / "new" / "folder")
    assert again.config == model.config
    ids = torch.randint(13, (2, 7))
    assert torch.equal(again(ids), model(ids))


def test_what_a_folder_may_lack(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"found no config\.json"):
        AttentionModel.load(tmp_path)
    small().save(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    whole, text = weights.read_bytes(), config.read_text()
    for broken in (b"", whole[:7], whole[:100], whole[:-1]):
        weights.write_bytes(broken)
        with pytest.raises(BrokenModelError, match="save it again"):
            AttentionModel.load(tmp_path)
    weights.write_bytes(whole)
    for values in (
        "{",
        "[]",
        "null",
        json.dumps({**json.loads(text), "num_layers": 3}),
        text.replace("d_model", "dmodel"),
    ):
        config.write_text(values)
        with pytest.raises(BrokenModelError, match="save it again"):
            AttentionModel.load(tmp_path)
    weights.unlink()
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors"):
        AttentionModel.load(tmp_path)


IDS = torch.randint(13, (2, 5))
REAL = torch.ones(2, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("ids", "call", "message"),
    [
        (IDS[0], {}, r"\[batch, tokens\]"),
        (IDS[:, :0], {}, "at least one of each"),
        (IDS.float(), {}, "int64 or int32"),
        (IDS + 12, {}, r"lie in \[0, 13\)"),
        (IDS - 13, {}, r"lie in \[0, 13\)"),
        (IDS, {"key_mask": REAL[:, 1:]}, r"key_mask must be bool \(2, 5\)"),
        (IDS, {"key_mask": REAL.long()}, "key_mask must be bool"),
        (IDS, {"key_mask": REAL & torch.tensor([[True], [False]])}, "at least one real token"),
        (IDS, {"cache": []}, "cache of 2 entries"),
    ],
)
def test_bad_calls(ids: torch.Tensor, call: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small()(ids, **call)


def test_bad_generation() -> None:
    model = small(positions="learned", max_positions=6)
    with pytest.raises(InputError, match="training mode"):
        model.generate(IDS, 2)
    model.eval()
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1.0}, {"top_k": 0}):
        with pytest.raises(InputError, match="must be ≥ 1"):
            model.generate(IDS, **{"max_new_tokens": 1, **wrong})
    with pytest.raises(InputError, match="padded on the left"):
        model.generate(IDS, 1, key_mask=REAL.tril(3))
    with pytest.raises(TooLongError, match="6 learned positions"):
        model.generate(IDS, 3)
    with pytest.raises(InputError, match="classifies"):
        small(head="classification").eval().generate(IDS, 1)


def test_a_model_compiles_as_one_graph() -> None:
    attention = AttentionConfig(metric=("l1", "lp"), p=3.0, learnable_p=True, learnable_lambda=True, positions="alibi")
    model = small(attention=attention, positions="learned", num_layers=1)
    ids, real = torch.randint(13, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ids, key_mask=real), model(ids, key_mask=real))
