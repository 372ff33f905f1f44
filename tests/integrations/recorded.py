"""What the adapters rest on in each library: parameters of what they override and call, fields of what they read.

`python tests/integrations/contract.py NAME` records it anew from the library installed.
"""

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "contracts"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def found(name: str, module: Callable[[str], Any] = import_module) -> dict[str, Any]:
    """The same as `recorded`, as the library is now; ``module`` brings a module by its name."""
    old = recorded(name)
    return {
        "package": old["package"],
        "version": installed(name) or old["version"],
        "overrides": {path: parameters(member(path, module)) for path in old["overrides"]},
        "calls": {path: parameters(member(path, module)) for path in old["calls"]},
        "fields": {path: fields(member(path, module)) for path in old["fields"]},
    }


def installed(name: str) -> str | None:
    """The version of an adapter's library on this machine."""
    try:
        return version(recorded(name)["package"])
    except PackageNotFoundError:
        return None


def member(path: str, module: Callable[[str], Any]) -> Any:
    home, _, name = path.partition(":")
    value = module(home)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def fields(kind: Any) -> list[str]:
    """The fields of a dataclass or pydantic model, the values of an enumeration."""
    if issubclass(kind, Enum):
        return [one.value for one in kind]
    if dataclasses.is_dataclass(kind):
        return [one.name for one in dataclasses.fields(kind)]
    return sorted(kind.model_fields)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        (FOLDER / f"{name}.json").write_text(json.dumps(found(name), indent=2) + "\n", encoding="utf-8")
