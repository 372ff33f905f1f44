"""How much more memory this process held at its peak than before; on Linux, whose kernel counts it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc/self")


@dataclass(slots=True)
class Peak:
    """Bytes beyond what was held when the block began, known once it has ended; None where no kernel counts them."""

    bytes: int | None = None


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the resident memory of the whole process while the block runs, on the processor's side."""
    peak = Peak()
    held = _held("VmRSS") if _reset() else None
    yield peak
    if held is not None:
        peak.bytes = max(0, _held("VmHWM") - held)


def _reset() -> bool:
    """Let the kernel's high-water mark begin anew; False where it does not."""
    try:
        (_PROC / "clear_refs").write_text("5")
        return _held("VmHWM") > 0
    except (OSError, StopIteration):
        return False


def _held(name: str) -> int:
    lines = (_PROC / "status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
