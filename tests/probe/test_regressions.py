"""Readings that once looked right and were not, found by review; each test tells what went wrong."""

import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from families import FAMILIES

from heed.attention.dot import fused
from heed.errors import InputError, TooLongError
from heed.interface.session import attending_as, listening
from heed.model import Model, wrap
from heed.probe import AllRowsMass, LastRow, LayerKey, PrefixCache, Received, RowEntropy, check, read, trace
from heed.probe.layers import layers_of
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
         "num_hidden_layers": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip


def llama(seed: int = 0, **more: Any) -> Model:
    torch.manual_seed(seed)
    return wrap(tf.LlamaForCausalLM(tf.LlamaConfig(**SMALL | more)).eval(), name=f"llama-{seed}")


def prompt(length: int, seed: int = 1) -> Encoded:
    ids = np.random.default_rng(seed).integers(3, 60, length).astype(np.int64)
    return Encoded(ids=ids, offsets=np.zeros((length, 2), dtype=np.int64), text="")


def family(name: str) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return wrap(next(f for f in FAMILIES if f.name == name).build(), name=name)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "llama4", "gpt_oss", "bert", "modernbert"])
def test_padded_rows_give_nothing_to_received(name: str, padding: Any) -> None:
    """A short prompt's tokens received attention from its padding: 20 rows' worth instead of 7."""
    model, short = family(name), prompt(7)
    beside = read(model, [short, prompt(20, seed=2)], {"in": Received()}, padding=padding).stack("in")[0]
    alone = read(model, [short], {"in": Received()}).stack("in")[0]
    real = slice(0, 7) if padding == "right" else slice(13, 20)
    np.testing.assert_allclose(beside[..., real], alone, atol=2e-5)
    assert beside.sum() == pytest.approx(alone.sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_padded_targets_give_nothing_either(name: str) -> None:
    model, source, short = family(name), prompt(9), prompt(2, seed=3)
    both = read(model, [source, source], {"in": Received()}, targets=[short, prompt(9, seed=4)]).stack("in")
    alone = read(model, [source], {"in": Received()}, targets=[short]).stack("in")
    np.testing.assert_allclose(both[0], alone[0], atol=2e-5)


def test_roberta_counts_its_own_positions_under_left_padding() -> None:
    """It counts from its padding token on; given positions from 0, rows were off by 0.16."""
    torch.manual_seed(0)
    config = tf.RobertaConfig(**SMALL | {"pad_token_id": 1}, max_position_embeddings=64)
    model = wrap(tf.RobertaModel(config).eval())
    texts = [prompt(7), prompt(20, seed=2)]
    left = read(model, texts, {"in": Received()}, padding="left").stack("in")
    for item, text in enumerate(texts):
        alone = read(model, [text], {"in": Received()}).stack("in")[0]
        np.testing.assert_allclose(left[item][..., 20 - len(text) :], alone, atol=2e-5)


def test_a_prefix_cache_knows_its_model() -> None:
    """Two models of one shape shared keys and values: rows wrong by 0.11, in silence."""
    models, cache = [llama(0), llama(1)], PrefixCache()
    head = prompt(20, seed=5).ids

    def text(n: int) -> Encoded:
        ids = np.concatenate([head, prompt(n, seed=n).ids])
        return Encoded(ids=ids, offsets=np.zeros((len(ids), 2), dtype=np.int64), text="")

    for n in (3, 4, 5):
        for model in models:
            cached = read(model, [text(n)], {"row": LastRow()}, prefix=cache).stack("row")
            np.testing.assert_allclose(cached, read(model, [text(n)], {"row": LastRow()}).stack("row"), atol=2e-6)


@pytest.mark.parametrize("probe", [Received(), RowEntropy(), AllRowsMass()], ids=lambda p: type(p).__name__)
def test_a_prefix_cache_serves_last_rows_only(probe: Any) -> None:
    """Rows behind the cache were missing without a word: 6 instead of 26."""
    with pytest.raises(InputError, match="probes of the last row with a prefix cache, found all"):
        read(llama(), [prompt(9)], {"all": probe}, prefix=PrefixCache())


def test_a_prefix_is_not_kept_where_rotary_positions_move() -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    model, cache = llama(max_position_embeddings=16, rope_parameters=rope), PrefixCache()
    model = wrap(model.hf)
    object.__setattr__(model.anatomy, "context", None)
    for n in (3, 4, 5):
        ids = np.concatenate([prompt(20, seed=5).ids, prompt(n, seed=n).ids])
        text = Encoded(ids=ids, offsets=np.zeros((len(ids), 2), dtype=np.int64), text="")
        assert read(model, [text], {"row": LastRow()}, prefix=cache).reused_tokens == 0


def test_check_does_not_hide_nan() -> None:
    """max() over numbers skips NaN: a broken model was called exact."""
    model = llama()
    with torch.no_grad():
        model.hf.model.layers[0].mlp.down_proj.weight.fill_(torch.nan)
    assert not check(model).exact


def test_a_reading_says_when_a_prompt_is_not_finite() -> None:
    """The CPU kernel turns rows of NaN into zeros: with few keys, later layers looked fine."""
    model = llama()
    with torch.no_grad():
        model.hf.model.layers[0].self_attn.k_proj.weight.fill_(torch.nan)
    last = [LayerKey("decoder", 0), LayerKey("decoder", 1)]
    assert read(model, [prompt(5)], {"row": LastRow()}, layers=last).finite.tolist() == [False]
    assert read(llama(), [prompt(5), prompt(9)], {"row": LastRow()}).finite.tolist() == [True, True]


def test_a_foreign_forward_is_not_counted_as_a_pass() -> None:
    """Another thread's forward of the same model made a reading fail."""
    model = llama()
    layers_of(model)
    ids = torch.from_numpy(prompt(6).ids)[None]

    class Disturbed:
        def __call__(self, view: Any, moment: Any) -> torch.Tensor:
            thread = threading.Thread(target=lambda: model.hf(ids))
            thread.start()
            thread.join()
            return LastRow()(view, moment)

    got = read(model, [prompt(9)], {"row": Disturbed()})
    np.testing.assert_array_equal(got.stack("row"), read(model, [prompt(9)], {"row": LastRow()}).stack("row"))


@pytest.mark.parametrize("own", ["sdpa", "eager"])
def test_a_foreign_forward_may_outlive_the_session(own: str) -> None:
    """It was handed a mask only heed understands, and met the model's own attention in the next layer."""
    model = llama()
    model.hf.set_attn_implementation(own)
    modules = frozenset(layers_of(model).modules.values())
    ids = torch.from_numpy(np.stack([prompt(9).ids, prompt(9, seed=2).ids]))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    with torch.no_grad():
        wanted = model.hf(ids, attention_mask=mask).logits
    inside, leave, result = threading.Event(), threading.Event(), {}

    def pause(*_: Any) -> None:
        inside.set()
        leave.wait(5)

    def outsider() -> None:
        hook = model.hf.model.layers[1].register_forward_pre_hook(pause)
        with torch.no_grad():
            result["logits"] = model.hf(ids, attention_mask=mask).logits
        hook.remove()

    thread = threading.Thread(target=outsider)
    with listening(model.hf, lambda call: None, modules=modules):
        thread.start()
        inside.wait(5)
    leave.set()
    thread.join()
    torch.testing.assert_close(result["logits"][0, 4:], wanted[0, 4:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result["logits"][1], wanted[1], rtol=1e-4, atol=1e-5)


def test_a_model_and_its_part_share_a_lock() -> None:
    """Two wraps of one model could leave it switched for good."""
    whole = llama()
    part = wrap(whole.hf.model)
    turns = [threading.Thread(target=read, args=(m, [prompt(30)], {"row": LastRow()})) for m in [whole, part] * 6]
    for turn in turns:
        turn.start()
    for turn in turns:
        turn.join()
    assert whole.hf.config._attn_implementation == "sdpa"


def test_every_part_gets_its_own_implementation_back() -> None:
    model = family("t5")
    with attending_as(model.hf, "eager"):
        assert model.hf.config._attn_implementation == "eager"
    assert model.hf.config._attn_implementation == "sdpa"
    check(model)
    assert model.hf.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "settings", [{"num_beams": 3}, {"repetition_penalty": 50.0}, {"cache_implementation": "static"}], ids=str
)
def test_generation_is_greedy_whatever_the_model_says(settings: dict[str, Any]) -> None:
    """Beams gave three rows for one prompt, penalties other tokens, a static cache an AttributeError."""
    model = llama(num_key_value_heads=4)
    plain = read(model, [prompt(9)], {"row": LastRow()}, new_tokens=4)
    for name, value in settings.items():
        setattr(model.hf.generation_config, name, value)
    kept = model.hf.generation_config
    got = read(model, [prompt(9)], {"row": LastRow()}, new_tokens=4)
    assert got.generated.tolist() == plain.generated.tolist()
    np.testing.assert_array_equal(got.stack("row", 1), plain.stack("row", 1))
    assert model.hf.generation_config is kept


def test_ids_of_a_trace_are_what_its_rows_count() -> None:
    kept = trace(llama(), prompt(9), new_tokens=4)
    assert len(kept.ids) == kept.layer(0).n_rows == kept.layer(0).n_keys


def test_autocast_does_not_round_a_reading() -> None:
    model = llama()
    wanted = read(model, [prompt(9)], {"row": LastRow()}).stack("row")
    kept = trace(model, prompt(9))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_allclose(kept.ask(LastRow()), wanted[0], atol=2e-6)
        assert fused.lse_source.__wrapped__().fused


def test_default_dtype_and_device_do_not_spoil_the_kernels_check() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert fused.lse_source.__wrapped__().fused
    finally:
        torch.set_default_dtype(torch.float32)


def test_mistakes_of_the_caller_are_typed(tmp_path: Any) -> None:
    model = llama(max_position_embeddings=32)
    row = {"row": LastRow()}
    with pytest.raises(InputError, match=r"expected layers among .* found decoder\.9\.self"):
        read(model, [prompt(5)], row, layers=[LayerKey("decoder", 9)])
    with pytest.raises(InputError, match="found none: name others"):
        read(model, [prompt(5)], row, layers=[])
    with pytest.raises(InputError, match="expected spans for 2 prompts, found 1"):
        read(model, [prompt(5), prompt(6)], row, spans=[[TokenSpan(0, 1)]])
    with pytest.raises(InputError, match=r"within the 5 tokens of prompt 0, found 3\.\.6"):
        read(model, [prompt(5)], row, spans=[[TokenSpan(3, 6)]])
    with pytest.raises(InputError, match="same number of spans"):
        read(model, [prompt(5), prompt(6)], row, spans=[[TokenSpan(0, 1)], []])
    with pytest.raises(InputError, match="expected a place to write"):
        trace(model, prompt(5)).save(tmp_path / "no" / "such" / "t.safetensors")
    assert trace(model, prompt(5)).layer(0).rows(slice(0, 0)).shape == (1, 4, 0, 5)
    with pytest.raises(IndexError, match="a step of 2"):
        trace(model, prompt(5)).layer(0).tile(slice(0, 2), slice(0, 4, 2))
    bart = family("bart")
    with pytest.raises(TooLongError):
        read(bart, [prompt(5)], row, targets=[prompt(300)])
