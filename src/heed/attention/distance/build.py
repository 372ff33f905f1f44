"""Where the compiled kernel comes from: the wheel's own, or compiled once with the machine's C++ compiler and kept.

The wheel of a machine with a compiler carries the library (`hatch_build.py` at the root of the repository calls
`compile_to`). Any other installation compiles it at first use, in a few seconds, into heed's cache: once for each
source, compiler and set of flags. Imports only the standard library at the top, since it also runs while a wheel is
built.
"""

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent / "native"
PREBUILT = SOURCES / "heed_kernel.so"
"""The library a wheel carries."""

FLAGS = ("-O3", "-std=c++17", "-fPIC", "-pthread", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno")
"""No -ffast-math: infinities and NaN must behave."""

VARIANTS = {
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"),
    "avx2": ("-mavx2", "-mfma"),
    "generic": (),
}
"""Flags of each variant; only x86 has the first two."""


_logger = logging.getLogger(__name__)


class BuildError(RuntimeError):
    """There is no compiler, or it failed; the message says what to do."""


class Library(NamedTuple):
    """A compiled kernel, and whether it came with the wheel or was compiled here."""

    path: Path
    source: str


def find(cache_dir: Path, cxx: str | None = None) -> Library:
    """The kernel: the wheel's, one compiled before, or one compiled now with ``cxx``, else g++, clang++ or c++.

    Raises `BuildError` where there is none and none can be made.
    """
    if PREBUILT.exists():
        return Library(PREBUILT, "wheel")
    compiler = find_compiler(cxx)
    target = cache_dir / "kernel" / f"{fingerprint(compiler)}.so"
    if not target.exists():
        from filelock import FileLock

        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not target.exists():
                _logger.info("compiling the attention kernel with %s, once, into %s", compiler, target)
                compile_to(target, compiler)
    return Library(target, "compiled")


def find_compiler(cxx: str | None = None) -> str:
    """The path of the C++ compiler: ``cxx`` where it is given, else the first of g++, clang++ and c++.

    Raises `BuildError` where there is none.
    """
    names = (cxx,) if cxx else ("g++", "clang++", "c++")
    for name in names:
        if path := shutil.which(name):
            return path
    raise BuildError(
        f"no prebuilt kernel here and no C++ compiler to make one: expected {', '.join(names)} on the PATH; "
        "install one (apt install g++, xcode-select --install) or name it in the variable CXX"
    )


def fingerprint(compiler: str, flags: tuple[str, ...] = FLAGS) -> str:
    """A name for what this compiler makes of these sources with these flags."""
    version = _said([compiler, "--version"])
    parts = [compiler.encode(), version.encode(), repr((flags, _variants())).encode()]
    parts += [path.name.encode() + path.read_bytes() for path in sorted(SOURCES.glob("*.*")) if path != PREBUILT]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def compile_to(target: Path, compiler: str, flags: tuple[str, ...] = FLAGS) -> None:
    """Compile the kernel and put it at ``target``, whole or not at all.

    Raises `BuildError` with the compiler's own words.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as folder:
        objects, commands = [], []
        for source, name, more in _units():
            objects.append(str(Path(folder) / f"{name}.o"))
            commands.append([compiler, *flags, *more, "-c", str(SOURCES / source), "-o", objects[-1]])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_said, commands))
        made = Path(folder) / target.name
        _said([compiler, *flags, "-shared", *objects, "-o", str(made)])
        made.replace(target)


def _variants() -> dict[str, tuple[str, ...]]:
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return VARIANTS if x86 else {"generic": VARIANTS["generic"]}


def _units() -> list[tuple[str, str, tuple[str, ...]]]:
    """What is compiled: source, name of the object, further flags; the slowest first."""
    units = [
        ("variant.cpp", f"{variant}_{real}", (*flags, f"-DHEED_VARIANT={variant}", f"-DHEED_REAL={real}"))
        for variant, flags in _variants().items()
        for real in ("float", "double")
    ]
    return [*units, ("kernel.cpp", "kernel", ())]


def _said(command: list[str]) -> str:
    """What a command of the compiler writes; `BuildError` with its complaint where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's compiler
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        words = done.stderr.strip()[:2000]
        raise BuildError(f"{command[0]} could not compile the attention kernel; name another in CXX. It says: {words}")
    return done.stdout
