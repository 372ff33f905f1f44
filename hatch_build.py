"""Puts the compiled attention kernel into the wheel where a C++ compiler is at hand; else the wheel stays pure Python.

A pure wheel, like an editable install, compiles the kernel at first use if it finds a compiler then, and works without.
"""

import importlib.util
import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelHook(BuildHookInterface):
    """Compiles the kernel for the machine the wheel is built on, and names that machine in the wheel's tag."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the library to the wheel; say so and go on where it cannot be made."""
        if version == "editable":
            return
        build = _build_module(Path(self.root))
        target = Path(self.directory).resolve() / build.PREBUILT.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            build.compile_to(target, build.find_compiler(os.environ.get("CXX")))
        except build.BuildError as error:
            self.app.display_warning(f"heed: a wheel without the compiled attention kernel: {error}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["force_include"][str(target)] = f"heed/attention/distance/native/{target.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave only the wheel behind."""
        for path in build_data["force_include"]:
            Path(path).unlink(missing_ok=True)


def _build_module(root: Path) -> Any:
    """`heed.attention.distance.build` by its path: heed itself, and torch, are not there while a wheel is made."""
    path = root / "src" / "heed" / "attention" / "distance" / "build.py"
    spec = importlib.util.spec_from_file_location("heed_kernel_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
