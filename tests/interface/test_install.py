"""Distance attention in and out of a model, into a folder and back, and through training."""

import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from families import FAMILIES
from torch import Tensor

import heed
from heed.errors import BrokenModelError, InputError, UnsupportedModelError
from heed.interface import DistanceConfig, compare_perplexity
from heed.interface.distance import IMPLEMENTATIONS, attached
from heed.model import wrap
from heed.probe import LastRow, check, read
from heed.text.encode import Encoded

SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
         "num_key_value_heads": 2, "num_hidden_layers": 2, "max_position_embeddings": 128,
         "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip


def llama(seed: int = 0, **more: Any) -> Any:
    torch.manual_seed(seed)
    return tf.LlamaForCausalLM(tf.LlamaConfig(**SMALL | more)).eval()


def ids_of(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(3, 60, shape))


def prompt(length: int) -> Encoded:
    return Encoded(ids=ids_of(length).numpy(), offsets=np.zeros((length, 2), dtype=np.int64), text="")


def lambdas(hf: Any) -> dict[str, Tensor]:
    return {name: p for name, p in hf.named_parameters() if "log_lambda" in name}


def stirred(hf: Any, metric: str = "l1", **options: Any) -> Any:
    """A model with learned λ that are not what they began as."""
    heed.install(hf, metric, learnable=True, **options)
    with torch.no_grad():
        for index, parameter in enumerate(lambdas(hf).values()):
            parameter.copy_(torch.linspace(-0.5, 1.0, len(parameter)) + index)
    return hf


def logits(hf: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = hf(ids_of(2, 13)).logits
    return out


def test_three_lines_from_scratch() -> None:
    torch.manual_seed(0)
    hf = tf.AutoModelForCausalLM.from_config(tf.LlamaConfig(**SMALL))
    heed.install(hf, "l1", learnable=True)
    out = hf(ids_of(2, 13), labels=ids_of(2, 13))
    out.loss.backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in lambdas(hf).values())


def test_by_name_once_registered() -> None:
    heed.register_attention()
    torch.manual_seed(0)
    hf = tf.AutoModelForCausalLM.from_config(tf.LlamaConfig(**SMALL), attn_implementation="heed_l1").eval()
    installed = llama()
    heed.install(installed, "l1")
    assert torch.equal(logits(hf), logits(installed))


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.name != "gemma2"], ids=lambda f: f.name)
def test_uninstall_puts_everything_back(family: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hf = family.build()
    before = json.dumps(hf.config.to_dict(), default=str)
    names = {id(m.config): m.config._attn_implementation for m in hf.modules() if hasattr(m, "config")}
    keys = list(hf.state_dict())
    ids = {"decoder_input_ids": ids_of(1, 4)} if family.encoder_decoder else {}
    with torch.no_grad():
        plain = hf(ids_of(1, 9), **ids)[0]
        heed.install(hf, "l1", learnable=True)
        assert len(lambdas(hf)) == sum(attached(m) is not None for m in hf.modules()) > 0
        assert not torch.allclose(hf(ids_of(1, 9), **ids)[0], plain, atol=1e-3)
        heed.uninstall(hf)
        assert torch.equal(hf(ids_of(1, 9), **ids)[0], plain)
    assert list(hf.state_dict()) == keys
    assert json.dumps(hf.config.to_dict(), default=str) == before
    assert {id(m.config): m.config._attn_implementation for m in hf.modules() if hasattr(m, "config")} == names


def test_uninstall_goes_back_to_the_name_that_was_there() -> None:
    heed.register_attention()
    hf = llama()
    hf.set_attn_implementation("heed_l2")
    want = logits(hf)
    heed.install(hf, "lp", p=3.0)
    heed.uninstall(hf)
    assert hf.config._attn_implementation == "heed_l2"
    assert torch.equal(logits(hf), want)
    heed.uninstall(hf)
    assert torch.equal(logits(hf), want)


@pytest.mark.parametrize("options", [{"metric": "l1"}, {"metric": "lp", "p": 3.0, "per_head": False},
                                     {"metric": "l2", "scale": "sqrt_dim", "layers": [1], "heads": [0, 3]},
                                     {"metric": "dot", "lam": 2.0}], ids=lambda o: o["metric"])  # fmt: skip
def test_a_folder_brings_it_back(options: dict[str, Any], tmp_path: Path) -> None:
    hf = stirred(llama(), **options)
    hf.save_pretrained(tmp_path)
    own = heed.load(tmp_path, dtype="float32")
    assert torch.equal(logits(own.hf), logits(hf))
    assert own.fingerprint == wrap(hf).fingerprint
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = tf.AutoModelForCausalLM.from_pretrained(tmp_path)
    config = heed.load_distance(plain, tmp_path)
    assert config == DistanceConfig.from_dict(hf.config.heed_distance)
    assert torch.equal(logits(plain), logits(hf))
    plain.save_pretrained(tmp_path / "again")
    assert torch.equal(logits(heed.load(tmp_path / "again", dtype="float32").hf), logits(hf))
    heed.uninstall(plain)
    torch.testing.assert_close(logits(plain), logits(llama()))


def test_a_fixed_lambda_is_in_the_configuration_alone(tmp_path: Path) -> None:
    hf = llama()
    heed.install(hf, "l1", lam=3.0)
    assert not lambdas(hf)
    hf.save_pretrained(tmp_path)
    assert torch.equal(logits(heed.load(tmp_path, dtype="float32").hf), logits(hf))


@pytest.mark.parametrize("name", ["t5", "gpt2", "bert"])
def test_other_shapes_of_model_come_back_too(name: str, tmp_path: Path) -> None:
    """Separate stacks, another prefix, an encoder."""
    hf = stirred(next(f for f in FAMILIES if f.name == name).build(), "l2")
    hf.save_pretrained(tmp_path)
    again = heed.load(tmp_path, dtype="float32").hf
    arguments = {"decoder_input_ids": ids_of(1, 4)} if name == "t5" else {}
    with torch.no_grad():
        assert torch.equal(again(ids_of(1, 9), **arguments)[0], hf(ids_of(1, 9), **arguments)[0])
        base = type(hf).base_model_prefix and hf.base_model
        base.save_pretrained(tmp_path / "base")
    assert json.loads((tmp_path / "base" / "config.json").read_text())["heed_distance"]["metric"] == "l2"


def test_without_heed_a_folder_does_not_pass_for_a_dot_product(tmp_path: Path, monkeypatch: Any) -> None:
    """Transformers alone knows no heed_l1 and says so; with the names alone, the missing λ are missed."""
    stirred(llama()).save_pretrained(tmp_path)
    own = dict(tf.AttentionInterface._global_mapping)
    with monkeypatch.context() as patch:
        patch.setattr(tf.AttentionInterface, "_global_mapping", {k: v for k, v in own.items() if "heed" not in k})
        with pytest.raises(ValueError, match='attn_implementation="heed_l1"` is not supported'):
            tf.AutoModelForCausalLM.from_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named = tf.AutoModelForCausalLM.from_pretrained(tmp_path)
        other = tf.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="sdpa").eval()
    with pytest.raises(UnsupportedModelError, match=r"found none attached: call heed\.load_distance"):
        logits(named)
    with pytest.raises(UnsupportedModelError, match=r"records, found 'sdpa': load the model with heed\.load"):
        read(wrap(other), [prompt(5)], {"row": LastRow()})
    heed.uninstall(other)
    assert read(wrap(other), [prompt(5)], {"row": LastRow()}).finite.all()


def test_a_folder_without_its_lambdas_is_broken(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    stirred(llama()).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if "layers.1.self_attn.heed" not in name}
    save_file(kept, path, {"format": "pt"})
    with pytest.raises(
        BrokenModelError, match=r"the λ of every layer.*layers\.1\.self_attn\.heed_distance\.log_lambda"
    ):
        heed.load(tmp_path)


def test_a_record_from_elsewhere_is_refused(tmp_path: Path) -> None:
    stirred(llama()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["heed_distance"]["warp"] = 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="a record of distance attention that heed wrote"):
        heed.load(tmp_path)


def test_layers_and_heads_that_are_not_chosen_keep_the_dot_product() -> None:
    hf, plain = llama(), llama()
    heed.install(hf, "l1", layers=[1], heads=[2])
    rows = {id(m): read(wrap(m), [prompt(13)], {"row": LastRow()}).stack("row")[0] for m in (hf, plain)}
    got, want = rows[id(hf)], rows[id(plain)]
    np.testing.assert_allclose(got[0], want[0], atol=1e-6)
    np.testing.assert_allclose(got[1, [0, 1, 3]], want[1, [0, 1, 3]], atol=1e-6)
    assert np.abs(got[1, 2] - want[1, 2]).max() > 1e-4
    assert check(wrap(hf)).exact


def test_chosen_heads_come_back_in_their_places() -> None:
    """Chosen out of order and across groups; the dot product installed on some heads changes nothing."""
    hf, real = llama(), torch.ones(2, 13, dtype=torch.int64)
    real[1, :5] = 0
    with torch.no_grad():
        want = hf(ids_of(2, 13), attention_mask=real).logits
        heed.install(hf, "dot", heads=[3, 0])
        got = hf(ids_of(2, 13), attention_mask=real).logits
    torch.testing.assert_close(got[real.bool()], want[real.bool()], rtol=1e-4, atol=1e-6)
    report = check(wrap(hf))
    assert report.exact


def test_the_installed_name_is_the_only_one_that_runs() -> None:
    hf = stirred(llama())
    hf.set_attn_implementation("heed_l2")
    with pytest.raises(UnsupportedModelError, match="expected heed_l1, which is installed in LlamaAttention"):
        logits(hf)


def test_mistakes_are_typed() -> None:
    hf = llama()
    for options, message in (
        ({"metric": "chebychev"}, "metric: expected one of dot, .*did you mean .chebyshev"),
        ({"metric": "lp"}, "p: expected p > 0"),
        ({"metric": "l1", "p": 2.0}, "p: expected no p for the metric 'l1'"),
        ({"metric": "lp", "p": -1.0}, "p must be a finite number > 0"),
        ({"metric": "smooth_chebyshev"}, "metric must be one of l1"),
        ({"lam": 0.0}, "lam must be a finite number > 0"),
        ({"lam": 101.0, "learnable": True}, "a learned λ is at most 100"),
        ({"scale": "sqrt"}, "scale must be one of"),
        ({"metric": "dot", "scale": 2.0}, "scale: expected none for 'dot'"),
        ({"heads": [4]}, "heads: expected numbers below 4, found"),
        ({"heads": []}, "heads: expected different whole numbers"),
        ({"heads": [True]}, "heads: expected different whole numbers"),
        ({"layers": 0}, r"layers: expected whole numbers such as \[0, 1\], or None for all, found 0"),
        ({"layers": ["a"]}, "layers: expected different whole numbers"),
        ({"layers": [2]}, "layers: expected numbers below 2, found"),
    ):
        with pytest.raises(InputError, match=message):
            heed.install(hf, **options)
        assert hf.config._attn_implementation == "sdpa"
        assert not hasattr(hf.config, "heed_distance")
    with pytest.raises(InputError, match=r"expected a transformers model or a heed\.Model, found str"):
        heed.install("llama")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"call heed\.install"):
        heed.load_distance(hf, ".")
    heed.install(hf)
    with pytest.raises(InputError, match=r"found DistanceConfig.*call heed\.uninstall first"):
        heed.install(hf)


def test_what_cannot_be_honoured_is_refused_at_once() -> None:
    with pytest.raises(UnsupportedModelError, match="found softcap in Gemma2Attention"):
        heed.install(next(f for f in FAMILIES if f.name == "gemma2").build())
    bloom = tf.BloomForCausalLM(tf.BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2))
    with pytest.raises(UnsupportedModelError, match="attention code of its own"):
        heed.install(bloom)
    assert bloom.training


def test_models_of_images_give_an_example() -> None:
    torch.manual_seed(0)
    config = tf.ViTConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                          image_size=8, patch_size=2)  # fmt: skip
    hf, pixels = tf.ViTModel(config).eval(), torch.randn(2, 3, 8, 8)
    with pytest.raises(InputError, match=r"give example=\{'pixel_values': …\}"):
        heed.install(hf, "l2")
    heed.install(hf, "l2", learnable=True, example={"pixel_values": pixels[:1]})
    hf(pixel_values=pixels).last_hidden_state.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in lambdas(hf).values())


def test_a_heed_model_takes_it_and_is_another_model() -> None:
    model = wrap(llama())
    before = model.fingerprint
    heed.install(model, "l1")
    fixed = model.fingerprint
    heed.uninstall(model)
    assert model.fingerprint == before != fixed
    heed.install(model, "l2")
    assert model.fingerprint not in (before, fixed)


def test_a_copy_is_a_model_of_its_own() -> None:
    hf = stirred(llama())
    again = copy.deepcopy(hf)
    heed.uninstall(hf)
    assert again.config._attn_implementation == "heed_l1"
    heed.uninstall(again)
    assert torch.equal(logits(again), logits(llama()))


@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev", "cosine", "l21"])
def test_training_learns_lambda_and_weights(metric: str) -> None:
    """Dropout, padding and a plain loop: the loss on one batch falls, every parameter moves."""
    hf = llama(attention_dropout=0.1)
    heed.install(hf, metric, learnable=True)
    hf.train()
    start = {name: p.detach().clone() for name, p in hf.named_parameters()}
    ids, real = ids_of(4, 17), torch.ones(4, 17, dtype=torch.int64)
    real[0, 11:] = 0
    labels = ids.masked_fill(real == 0, -100)
    optimizer = torch.optim.AdamW(hf.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = hf(ids, attention_mask=real, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert all(not torch.equal(p, start[name]) for name, p in hf.named_parameters())


def test_autocast_trains_too() -> None:
    hf = stirred(llama()).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = hf(ids_of(2, 17), labels=ids_of(2, 17)).loss
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) and float(p.grad.abs().sum()) > 0 for p in hf.parameters())


def test_the_position_bias_of_t5_is_learned() -> None:
    hf = stirred(next(f for f in FAMILIES if f.name == "t5").build())
    hf(ids_of(2, 9), labels=ids_of(2, 5)).loss.backward()
    biases = [p for name, p in hf.named_parameters() if "relative_attention_bias" in name]
    assert len(biases) == 2
    assert all(float(p.grad.abs().sum()) > 0 for p in biases)


def test_sinks_are_learned() -> None:
    hf = stirred(next(f for f in FAMILIES if f.name == "gpt_oss").build())
    hf(ids_of(2, 9), labels=ids_of(2, 9)).loss.backward()
    assert all(float(p.grad.abs().sum()) > 0 for name, p in hf.named_parameters() if "sinks" in name)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(reentrant: bool) -> None:
    """With dropout: what is computed again must draw the same numbers."""
    gradients = []
    for checkpointing in (False, True):
        hf = stirred(llama(attention_dropout=0.2)).train()
        if checkpointing:
            hf.activation_checkpointing_enable({"use_reentrant": reentrant})
        torch.manual_seed(7)
        hf(ids_of(2, 17), labels=ids_of(2, 17), use_cache=False).loss.backward()
        gradients.append({name: p.grad for name, p in hf.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_torch_compile_computes_the_same() -> None:
    """Traced by dynamo and its autograd; the code generator would add half a minute and nothing of heed's."""
    hf = stirred(llama(num_hidden_layers=1))
    compiled = torch.compile(hf, backend="aot_eager", fullgraph=True)
    for arguments in ({}, {"attention_mask": torch.tensor([[0] * 4 + [1] * 9, [1] * 13])}):
        hf.zero_grad()
        want = hf(ids_of(2, 13), labels=ids_of(2, 13), use_cache=False, **arguments)
        want.loss.backward()
        gradients = {name: p.grad.clone() for name, p in hf.named_parameters()}
        hf.zero_grad()
        got = compiled(ids_of(2, 13), labels=ids_of(2, 13), use_cache=False, **arguments)
        got.loss.backward()
        torch.testing.assert_close(got.logits, want.logits, rtol=1e-4, atol=1e-5)
        for name, p in hf.named_parameters():
            torch.testing.assert_close(p.grad, gradients[name], rtol=1e-3, atol=1e-5)


def test_the_trainer_trains_saves_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate, which is not installed")
    hf = llama()
    heed.install(hf, "l1", learnable=True)
    data = [{"input_ids": row, "labels": row} for row in ids_of(8, 13)]
    arguments = tf.TrainingArguments(tmp_path, max_steps=4, save_steps=2, per_device_train_batch_size=4,
                                     report_to=[], use_cpu=True, disable_tqdm=True, learning_rate=1e-2)  # fmt: skip
    trainer = tf.Trainer(model=hf, args=arguments, train_dataset=data)
    trainer.train()
    trainer.save_model(tmp_path / "end")
    assert torch.equal(logits(heed.load(tmp_path / "end", dtype="float32").hf), logits(hf.eval()))
    again = llama()
    heed.install(again, "l1", learnable=True)
    resumed = tf.Trainer(model=again, args=arguments, train_dataset=data)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for name, p in lambdas(hf).items():
        torch.testing.assert_close(lambdas(again)[name], p)


def test_a_swap_is_measured_and_undone() -> None:
    hf = llama()
    before = logits(hf)
    report = compare_perplexity(hf, ids_of(3, 21), "l1")
    assert torch.equal(logits(hf), before)
    assert (report.tokens, report.uniform) == (60, 64)
    assert report.before != report.after
    with torch.no_grad():
        losses = [float(hf(row[None], labels=row[None]).loss) for row in ids_of(3, 21)]
    assert report.before == pytest.approx(np.exp(np.mean(losses)), rel=1e-5)
    assert "not trained again (60 tokens; guessing: 64)" in str(report)
    same = compare_perplexity(hf, ids_of(3, 21), "dot")
    assert same.after == pytest.approx(same.before, rel=1e-5)
    with pytest.raises(InputError, match="texts of at least two tokens"):
        compare_perplexity(hf, ids_of(3, 1))


def test_an_import_registers_nothing() -> None:
    """It does not even load transformers."""
    code = "import sys, heed.interface; print('transformers' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.strip() == "False"


def test_every_name_has_both_halves() -> None:
    """A name without a mask function would lose padding and windows without a word."""
    heed.register_attention()
    assert set(IMPLEMENTATIONS) <= set(tf.AttentionInterface().valid_keys())
    assert set(IMPLEMENTATIONS) <= set(tf.AttentionMaskInterface().valid_keys())
