import importlib

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from heed.errors import BrokenModelError, HeedError, ModelError, ModelNotFoundError, OutOfMemoryError
from heed.model import load
from heed.model.precision import fast_dtype
from heed.settings import settings

loading = importlib.import_module("heed.model.load")  # the package shows the function of that name


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    def refuse(name, **kwargs):
        raise ModelNotFoundError(f"asked the hub for {name}")

    monkeypatch.setattr(loading, "hub_folder", refuse)


def test_a_folder(folder):
    model = load(folder, dtype=None)
    assert (model.origin, model.name, model.dtype) == ("folder", str(folder), torch.float32)
    assert model.anatomy.layers == 3
    assert model.tokenizer is not None
    assert not model.hf.training
    assert model.hf.config._attn_implementation == "sdpa"


def test_a_folder_as_text_from_the_working_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert load("tiny").origin == "folder"


def test_a_gguf(gguf_file):
    model = load(gguf_file, dtype=None)
    assert (model.origin, model.dtype) == ("gguf", torch.float32)


def test_folder_and_gguf_of_the_same_weights_have_one_fingerprint(folder, gguf_file):
    assert load(folder).fingerprint == load(gguf_file, dtype="bfloat16").fingerprint


def test_a_name_in_the_models_folder(folder, gguf_file):
    base = settings().models_dir
    base.mkdir()
    folder.rename(base / "mine")
    gguf_file.rename(base / "small.gguf")
    assert load("mine").origin == "folder"
    assert load("small").origin == "gguf"


def test_a_name_cannot_lead_out_of_the_models_folder(folder):
    base = settings().models_dir
    (base / "x").mkdir(parents=True)
    folder.rename(base.parent / "outside")
    with pytest.raises(ModelNotFoundError):
        load("x/../../outside")


def test_anything_else_is_asked_of_the_hub():
    with pytest.raises(ModelNotFoundError, match="asked the hub for org/name"):
        load("org/name")


def test_a_hub_model(folder, monkeypatch):
    monkeypatch.setattr(loading, "hub_folder", lambda name, retries: folder)
    model = load("org/name")
    assert (model.origin, model.name) == ("hub", "org/name")


@pytest.mark.parametrize("name", ["./no", "/no/such", "~/no-such", "no.gguf"])
def test_paths_are_not_asked_of_the_hub(name):
    with pytest.raises(ModelNotFoundError, match="found nothing there"):
        load(name)


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_names_that_are_none(name):
    with pytest.raises(ModelNotFoundError, match="expected a path, a name or a hub id"):
        load(name)


@given(st.text(min_size=1))
@example_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_name_ends_in_an_error_of_heed(name):
    with pytest.raises(HeedError):
        load(name)


def test_a_very_long_name():
    with pytest.raises(ModelNotFoundError):
        load("x" * 5000)


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    path.touch()
    with pytest.raises(BrokenModelError, match=r"expected a model folder or a .gguf file, found the file"):
        load(path)


@pytest.mark.parametrize("name", [None, "embedded"])
def test_the_embedded_model_is_never_pulled_in_silence(name):
    with pytest.raises(ModelNotFoundError, match="found none: run `heed models pull`"):
        load(name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", torch.bfloat16, torch.float16])
def test_dtypes_run(folder, dtype):
    model = load(folder, dtype=dtype)
    assert str(model.dtype).removeprefix("torch.") == str(dtype).removeprefix("torch.")
    assert model.hf(torch.arange(33)[None]).logits.isfinite().all()


def test_none_is_as_stored(folder, llama):
    llama.to(torch.bfloat16).save_pretrained(folder)
    assert load(folder, dtype=None).dtype == torch.bfloat16


def test_auto_is_what_the_device_is_fast_in(folder):
    assert load(folder).dtype == load(folder, dtype="auto").dtype == fast_dtype("cpu")


@pytest.mark.parametrize("dtype", ["int8", "float64", torch.int32, "half", ""])
def test_unknown_dtype(folder, dtype):
    with pytest.raises(ModelError, match="expected dtype auto, float32, bfloat16, float16, found"):
        load(folder, dtype=dtype)


@pytest.mark.parametrize("device", ["gpu", "meta", "xpu", "cuda:x"])
def test_unknown_device(folder, device):
    with pytest.raises(ModelError, match=f"expected device cpu, cuda, cuda:<n> or mps, found '{device}'"):
        load(folder, device=device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_this_machine_lacks(folder, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelError, match=f"expected the device '{device}' on this machine, found 0"):
        load(folder, device=device)


def test_out_of_memory(folder, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loading, "load_folder", full)
    with pytest.raises(OutOfMemoryError, match="too little: use bfloat16"):
        load(folder)


def test_threads(folder, monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    load(folder)
    monkeypatch.setenv("HEED_THREADS", "2")
    load(folder)
    load(folder, threads=1)
    assert set_to == [2, 1]


def test_nothing_is_printed(folder, capfd):
    load(folder)
    assert capfd.readouterr() == ("", "")
