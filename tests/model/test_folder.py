import json
import os

import pytest
import torch
import transformers as tr

from heed.errors import BrokenModelError, UnsupportedModelError
from heed.model.folder import auto_class, load_folder

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_weights_and_tokenizer_come_back(folder, llama):
    hf, tokenizer = load_folder(folder)
    assert not hf.training
    assert all(torch.equal(a, b) for a, b in zip(hf.parameters(), llama.parameters(), strict=True))
    assert tokenizer.decode(tokenizer("heed me").input_ids) == "heed me"


def test_dtype_as_stored_or_as_asked(folder, llama):
    llama.to(torch.bfloat16).save_pretrained(folder)
    assert load_folder(folder)[0].dtype == torch.bfloat16
    assert load_folder(folder, dtype=torch.float32)[0].dtype == torch.float32


def test_no_tokenizer_files_no_tokenizer(tmp_path, llama):
    llama.save_pretrained(tmp_path)
    assert load_folder(tmp_path)[1] is None


def test_shards(tmp_path, llama):
    llama.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load_folder(tmp_path)[0].config.num_hidden_layers == 3


def test_a_lost_shard_is_named(tmp_path, llama):
    llama.save_pretrained(tmp_path, max_shard_size="50KB")
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(BrokenModelError, match=f"expected {lost.name} .* found none"):
        load_folder(tmp_path)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}'])
def test_an_index_without_a_map(folder, index):
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(BrokenModelError, match="expected a weight_map"):
        load_folder(folder)


def test_cut_weights(folder):
    cut(folder / "model.safetensors")
    with pytest.raises(BrokenModelError, match=r"expected a whole safetensors file .* cut or damaged"):
        load_folder(folder)


def test_empty_weights(folder):
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(BrokenModelError, match="cut or damaged"):
        load_folder(folder)


@pytest.mark.parametrize("text", ['{"model_type": "lla', "", "\x00\x01"])
def test_damaged_config(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(BrokenModelError, match=r"expected JSON in .*config.json"):
        load_folder(folder)


def test_config_that_is_no_object(folder):
    (folder / "config.json").write_text("[]")
    with pytest.raises(BrokenModelError, match=r"expected a JSON object .* found list"):
        load_folder(folder)


def test_config_without_family(folder):
    (folder / "config.json").write_text("{}")
    with pytest.raises(BrokenModelError, match="expected a model_type"):
        load_folder(folder)


def test_config_with_a_value_of_the_wrong_type(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(BrokenModelError, match="cannot be loaded"):
        load_folder(folder)


def test_config_of_another_size_than_the_weights(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(BrokenModelError, match="cannot be loaded"):
        load_folder(folder)


def test_damaged_tokenizer(folder):
    cut(folder / "tokenizer.json")
    with pytest.raises(BrokenModelError, match="cannot be loaded"):
        load_folder(folder)


def test_weights_that_transformers_would_make_up_are_refused(folder, llama):
    state = {name: value for name, value in llama.state_dict().items() if "layers.2.mlp" not in name}
    llama.save_pretrained(folder, state_dict=state)
    with pytest.raises(BrokenModelError, match=r"found 3 missing \(model.layers.2.mlp"):
        load_folder(folder)


def test_code_that_comes_with_a_model_is_never_run(folder):
    config = json.loads((folder / "config.json").read_text())
    own = {**config, "model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(own))
    (folder / "evil.py").write_text("raise SystemExit('run')")
    with pytest.raises(UnsupportedModelError, match=r"found 'evil' .* never run"):
        load_folder(folder)


def test_code_beside_a_known_family_is_not_run_either(folder):
    config = json.loads((folder / "config.json").read_text())
    own = {**config, "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(own))
    (folder / "evil.py").write_text("raise SystemExit('run')")
    assert type(load_folder(folder)[0]).__module__.startswith("transformers.")


def test_pickled_weights_are_never_opened(tmp_path, llama):
    llama.config.save_pretrained(tmp_path)
    torch.save(llama.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(BrokenModelError, match=r"only pytorch_model.bin: heed opens no pickled weights"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("beside", "hint"),
    [("some.gguf", "path of the .gguf file"), ("adapter_config.json", "merge it"), ("x", "save_pretrained wrote")],
)
def test_no_config_says_what_to_give_instead(tmp_path, beside, hint):
    (tmp_path / beside).touch()
    with pytest.raises(BrokenModelError, match=f"expected config.json .* found none: .*{hint}"):
        load_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_files_without_permission(folder, name):
    (folder / name).chmod(0)
    with pytest.raises(BrokenModelError, match="Permission denied"):
        load_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_in_place_of_a_file(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(BrokenModelError, match=f"found: Is a directory .*{name}"):
        load_folder(folder)


def test_an_encoder_is_loaded_bare(tmp_path):
    tr.BertForMaskedLM(tr.BertConfig(**SMALL)).save_pretrained(tmp_path)
    assert type(load_folder(tmp_path)[0]) is tr.BertModel


def test_an_encoder_decoder(tmp_path):
    config = tr.T5Config(num_layers=2, num_heads=4, d_kv=6, d_model=32, d_ff=32, vocab_size=50)
    tr.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    assert type(load_folder(tmp_path)[0]) is tr.T5ForConditionalGeneration


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (tr.LlamaConfig, tr.AutoModelForCausalLM),
        (tr.GPT2Config, tr.AutoModelForCausalLM),
        (tr.BartConfig, tr.AutoModelForSeq2SeqLM),
        (tr.RobertaConfig, tr.AutoModel),
        (tr.ViTConfig, tr.AutoModel),
    ],
)
def test_auto_class(config, expected):
    assert auto_class(config()) is expected


def test_auto_class_of_a_config_without_a_model():
    with pytest.raises(UnsupportedModelError, match="expected a model that transformers can build"):
        auto_class(tr.PreTrainedConfig())
