import shutil

import pytest

from heed.errors import ModelError
from heed.model.cache import cache_info, clear_cache
from heed.model.embedded import embedded_folder
from heed.settings import settings


@pytest.fixture
def filled():
    for name in ("embedded", ".pull-dead", "my-own-model"):
        (embedded_folder().parent / name).mkdir(parents=True)
        (embedded_folder().parent / name / "weights").write_bytes(b"x" * 1_000_000)
    (settings().cache_dir / "other.txt").write_text("mine")
    return embedded_folder().parent


def test_an_empty_cache():
    assert cache_info() == clear_cache()
    assert cache_info().mb == 0
    assert not settings().cache_dir.exists()


def test_info_counts_what_is_of_heed(filled):
    info = cache_info()
    assert info.path == settings().cache_dir
    assert info.entries == (filled / "embedded", filled / ".pull-dead")
    assert info.mb == 2


def test_clear_deletes_only_what_is_of_heed(filled):
    assert clear_cache().mb == 2
    assert cache_info().entries == ()
    assert (filled / "my-own-model" / "weights").exists()
    assert (settings().cache_dir / "other.txt").exists()


def test_what_cannot_be_deleted(filled, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(ModelError, match=r"expected to delete .* Permission denied"):
        clear_cache()
