import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heed.cli.main import main
from tiny import tiny_folder, tiny_profile


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch, request):
    """No test sees the machine's own cache, models and profiles, but those marked `embedded`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("HEED_PROFILES_DIR", str(tmp_path / "profiles"))
    if request.node.get_closest_marker("embedded") is None:
        monkeypatch.setenv("HEED_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("HEED_MODELS_DIR", str(tmp_path / "models"))
        monkeypatch.setenv("HEED_TASKS_DIR", str(tmp_path / "tasks"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def profile(tmp_path_factory) -> Path:
    return tiny_profile(tmp_path_factory.mktemp("profiles") / "profile.json")


@pytest.fixture
def heed(capsys, monkeypatch) -> Callable[..., Done]:
    """Run a command in this process; ``stdin`` are the bytes it reads."""

    def run(*words: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def guarded(tiny, profile) -> list[object]:
    """The options that make any guard command use the tiny model."""
    return ["--model", tiny, "--profile", profile, "--dtype", "float32"]
