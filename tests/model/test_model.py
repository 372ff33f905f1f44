import dataclasses

import pytest
import torch

from heed.model import Model, load, wrap
from heed.model.fingerprint import fingerprint


def test_wrap_leaves_the_model_as_it_is(llama):
    llama.train()
    model = wrap(llama)
    assert model.hf is llama
    assert model.tokenizer is None
    assert llama.training
    assert (model.origin, model.name) == ("wrapped", "LlamaForCausalLM")


def test_wrap_takes_a_name(llama):
    assert wrap(llama, name="mine").name == "mine"


def test_wrap_keeps_the_name_it_was_loaded_under(folder):
    assert wrap(load(folder).hf).name == str(folder)


def test_properties_follow_the_model(llama):
    model = wrap(llama)
    assert (model.device, model.dtype, model.context) == (torch.device("cpu"), torch.float32, 63)
    llama.to(torch.bfloat16)
    assert model.dtype == torch.bfloat16


def test_fingerprint_is_computed_once(llama, monkeypatch):
    model = wrap(llama)
    first = model.fingerprint
    assert first == fingerprint(llama)
    monkeypatch.setattr("heed.model.model.fingerprint", None)
    assert model.fingerprint == first


def test_a_model_cannot_be_changed(llama):
    with pytest.raises(dataclasses.FrozenInstanceError):
        wrap(llama).name = "other"  # type: ignore[misc]


def test_models_are_compared_by_identity(llama):
    assert wrap(llama) != wrap(llama)
    assert isinstance(hash(wrap(llama)), int)


def test_repr_is_one_line(llama):
    model: Model = wrap(llama, name="tiny")
    assert repr(model) == "Model('tiny', llama, 3 layers x 4 heads, torch.float32, cpu)"
