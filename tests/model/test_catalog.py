import pytest
from huggingface_hub import scan_cache_dir

from heed.model import catalog as module
from heed.model import load
from heed.model.catalog import catalog
from heed.settings import settings


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    """A hub cache of the test's own, laid out as huggingface_hub does."""
    home = tmp_path / "hub"
    monkeypatch.setattr(module, "scan_cache_dir", lambda: scan_cache_dir(home))
    return home


def test_nothing_there():
    (only,) = catalog()
    assert (only.name, only.origin, only.complete, only.mb) == ("embedded", "embedded", False, 0)


def test_models_folder(folder, gguf_file):
    base = settings().models_dir
    base.mkdir()
    folder.rename(base / "whole")
    gguf_file.rename(base / "small.gguf")
    (base / "notes").mkdir()
    (base / "half").mkdir()
    (base / "half" / "config.json").write_text("{}")
    _, half, small, whole = catalog()
    assert (half.name, half.origin, half.complete) == ("half", "folder", False)
    assert (small.name, small.origin, small.complete) == ("small", "gguf", True)
    assert (whole.name, whole.complete) == ("whole", True)
    assert whole.mb == pytest.approx(sum(f.stat().st_size for f in whole.path.iterdir()) / 1e6)
    for entry in (small, whole):
        assert load(entry.name).origin == entry.origin


def test_hub_cache(hub_cache, folder):
    for kind in ("models", "datasets"):
        snapshot = hub_cache / f"{kind}--org--name" / "snapshots" / ("a" * 40)
        snapshot.mkdir(parents=True)
        for file in folder.iterdir():
            (snapshot / file.name).write_bytes(file.read_bytes())
    _, entry = catalog()
    assert (entry.name, entry.origin, entry.complete) == ("org/name", "hub", True)
    assert entry.path.name == "a" * 40
