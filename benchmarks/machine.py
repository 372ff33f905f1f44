"""The machine a benchmark runs on: what it is, what it can, fresh processes, and the memory this one holds."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from harness import THREADS, Skip

HERE = Path(__file__).parent


def has_bf16() -> bool:
    """Whether the CPU has bfloat16 instructions."""
    return any(flag in _cpuinfo("flags", "Features").split() for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def dtypes() -> tuple[str, ...]:
    """The number formats that are worth measuring here."""
    return ("float32", "bfloat16") if has_bf16() else ("float32",)


NO_BF16 = "this CPU has no bfloat16 instructions (avx512_bf16, amx_bf16)"


def environment() -> dict[str, str]:
    """Commit, date, CPU, cores, threads, memory and versions."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "commit": _git("rev-parse", "--short", "HEAD") + ("-dirty" if _changed() else ""),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "bfloat16 instructions": "yes" if has_bf16() else "no",
        "cores": str(os.cpu_count()),
        "threads": str(THREADS),
        "memory": f"{memory_gb:.0f} GB",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


def child(*arguments: str, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run Python in a fresh process, with some more environment variables, and read the JSON of its last line."""
    environ = {**os.environ, **(variables or {})}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        raise RuntimeError(f"expected {arguments} to run, found exit code {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def held_bytes() -> int:
    """Bytes of memory this process holds now."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """Most bytes this process has held since it started, or since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Forget the peak so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise Skip(f"the kernel does not let a process reset its memory peak ({error})") from error


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError as error:
        raise Skip(f"memory is read from /proc/self/status, which this system lacks ({error})") from error
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _cpuinfo(*names: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() in names), "")


def _changed() -> bool:
    """Whether anything but the results themselves differs from the commit."""
    results = (":!/benchmarks/RESULTS.md", ":!/benchmarks/results.json", ":!/benchmarks/mechanisms/*.json*")
    return bool(_git("status", "--porcelain", "--", ":/", *results))


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
