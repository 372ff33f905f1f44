import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from integrations.recorded import installed
from integrations.scripted import ScriptedGuard
from integrations.standins import MODULES


@pytest.fixture
def guard() -> ScriptedGuard:
    return ScriptedGuard()


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """What `on_verdict` was told: status and what was enforced."""
    return []


@pytest.fixture
def options(guard, told) -> dict[str, Any]:
    return {"guard": guard, "on_verdict": lambda verdict, enforced: told.append((verdict.status, enforced))}


@pytest.fixture
def adapter() -> Iterator[Callable[[str], ModuleType]]:
    """An adapter by name: upon its library where that is installed, else upon the recorded contract."""
    added: list[str] = []

    def load(name: str) -> ModuleType:
        if not installed(name):
            sys.modules.update({module.__name__: module for module in MODULES[name]})
            added.extend([*(module.__name__ for module in MODULES[name]), f"heed.integrations.{name}"])
        return importlib.import_module(f"heed.integrations.{name}")

    yield load
    for name in added:
        sys.modules.pop(name, None)
