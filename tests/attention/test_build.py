"""Where the compiled kernel comes from, what is said where there is none, and the kernel under the sanitizers."""

import importlib.util
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from heed.attention.distance import build

ROOT = Path(__file__).parents[2]
COMPILER = next((path for name in ("g++", "clang++") if (path := shutil.which(name))), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler on the PATH")


@pytest.fixture
def compiler(tmp_path) -> Path:
    """A compiler that writes its output file, notes each call and knows one version."""
    path, log = tmp_path / "bin" / "fake++", tmp_path / "calls"
    path.parent.mkdir()
    path.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo fake 1; exit; }\n'
        f'echo "$@" >> {log}\nwhile [ "$1" != -o ]; do shift; done\necho object > "$2"\n'
    )
    path.chmod(0o755)
    log.touch()
    return path


@pytest.fixture(autouse=True)
def _no_prebuilt(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "PREBUILT", tmp_path / "heed_kernel.so")


def calls(compiler: Path) -> list[str]:
    return (compiler.parent.parent / "calls").read_text("utf-8").splitlines()


def test_the_library_of_the_wheel_comes_first(monkeypatch, tmp_path):
    wheel = tmp_path / "heed_kernel.so"
    wheel.touch()
    monkeypatch.setattr(build, "PREBUILT", wheel)
    assert build.find(tmp_path, "no-such-compiler") == build.Library(wheel, "wheel")


def test_it_is_compiled_once_into_a_private_folder(compiler, tmp_path):
    found = build.find(tmp_path / "cache", str(compiler))
    assert found.source == "compiled"
    assert found.path.read_text("utf-8") == "object\n"
    assert found.path.parent.stat().st_mode & 0o077 == 0
    assert sum("-shared" in call for call in calls(compiler)) == 1
    made = len(calls(compiler))
    assert build.find(tmp_path / "cache", str(compiler)) == found
    assert len(calls(compiler)) == made
    assert [path.name for path in found.path.parent.glob("build-*")] == []


def test_many_at_once_compile_it_once(compiler, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: build.find(tmp_path / "cache", str(compiler)), range(4)))
    assert len(found) == 1
    assert sum("-shared" in call for call in calls(compiler)) == 1


def test_another_source_compiler_or_flag_is_another_library(compiler, monkeypatch, tmp_path):
    names = {build.fingerprint(str(compiler)), build.fingerprint(str(compiler), (*build.FLAGS, "-g"))}
    sources = tmp_path / "native"
    shutil.copytree(build.SOURCES, sources)
    (sources / "kernel.cpp").write_text("// changed\n")
    monkeypatch.setattr(build, "SOURCES", sources)
    names.add(build.fingerprint(str(compiler)))
    compiler.write_text(compiler.read_text("utf-8").replace("fake 1", "fake 2"))
    names.add(build.fingerprint(str(compiler)))
    assert len(names) == 4


def test_every_variant_is_compiled_with_its_own_flags(compiler, monkeypatch, tmp_path):
    monkeypatch.setattr(build.platform, "machine", lambda: "x86_64")
    build.compile_to(tmp_path / "x86.so", str(compiler))
    x86 = calls(compiler)
    assert sum("-mavx512f" in call and "HEED_VARIANT=avx512" in call for call in x86) == 2
    assert not any("-mavx" in call for call in x86 if "HEED_VARIANT=generic" in call or "kernel.cpp" in call)
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    build.compile_to(tmp_path / "arm.so", str(compiler))
    assert not any("-mavx" in call for call in calls(compiler)[len(x86) :])


def test_no_compiler_is_said_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"expected g\+\+, clang\+\+, c\+\+ on the PATH; install one"):
        build.find(tmp_path)
    with pytest.raises(build.BuildError, match=r"expected mine\+\+ on the PATH"):
        build.find(tmp_path, "mine++")


def test_a_compiler_that_fails_is_quoted(compiler, tmp_path):
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no such flag" >&2; exit 1; }\n')
    with pytest.raises(build.BuildError, match=r"name another in CXX\. It says: no such flag"):
        build.find(tmp_path, str(compiler))
    compiler.write_text("#!/no/such/shell\n")
    with pytest.raises(build.BuildError, match="cannot be run"):
        build.find(tmp_path, str(compiler))
    assert not list(tmp_path.rglob("*.so"))


class App:
    """What the hook says while a wheel is made."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


def hook(tmp_path: Path) -> Any:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.KernelHook(str(ROOT), {}, None, None, str(tmp_path / "dist"), "wheel", App())


def test_a_wheel_carries_the_library_and_names_its_platform(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(compiler))
    data: dict[str, Any] = {"force_include": {}}
    made = hook(tmp_path)
    made.initialize("standard", data)
    (path, place), *_ = data["force_include"].items()
    assert place == f"heed/attention/distance/native/{build.PREBUILT.name}"
    assert Path(path).read_text("utf-8") == "object\n"
    assert data["pure_python"] is False
    assert data["tag"].startswith("py3-none-")
    made.finalize("standard", data, "")
    assert not Path(path).exists()


def test_without_a_compiler_the_wheel_is_pure_and_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    data: dict[str, Any] = {"force_include": {}}
    made = hook(tmp_path)
    made.initialize("standard", data)
    assert data == {"force_include": {}}
    assert "a wheel without the compiled attention kernel" in made.app.warnings[0]


def test_an_editable_install_compiles_at_first_use(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(compiler))
    data: dict[str, Any] = {"force_include": {}}
    hook(tmp_path).initialize("editable", data)
    assert data == {"force_include": {}}
    assert calls(compiler) == []


def driver(
    compiler: str, variant: str, target: Path, flags: tuple[str, ...], real: str = "float"
) -> subprocess.CompletedProcess[str]:
    """Compiles `sanitized.cpp`, which runs one variant of the kernel on all kinds of calls and checks its values."""
    defines = (f"-DHEED_REAL={real}", f"-DHEED_VARIANT={variant}", "-I", str(build.SOURCES))
    source = str(Path(__file__).with_name("sanitized.cpp"))
    command = [compiler, "-std=c++17", "-w", *flags, *build.VARIANTS[variant], *defines, source, "-o", str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def can_run(variant: str) -> bool:
    from heed.attention.distance import native

    return variant == "generic" or variant in native.variants()


@needs_compiler
@pytest.mark.parametrize(
    ("variant", "real"), [("generic", "float"), ("avx2", "float"), ("avx512", "float"), ("generic", "double")]
)
def test_the_sanitizers_find_nothing(variant, real, tmp_path):
    if not can_run(variant):
        pytest.skip(f"this processor has no {variant}")
    flags = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    (tmp_path / "empty.cpp").write_text("int main() {}\n")
    trial = [str(COMPILER), *flags, str(tmp_path / "empty.cpp"), "-o", str(tmp_path / "empty")]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip(f"{COMPILER} has no address and undefined-behaviour sanitizers")
    made = driver(str(COMPILER), variant, tmp_path / "kernel", flags, real)
    assert made.returncode == 0, made.stderr
    done = subprocess.run([tmp_path / "kernel"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_neon_under_emulation(tmp_path):
    compiler = shutil.which("aarch64-linux-gnu-g++")
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if compiler is None or emulator is None:
        pytest.skip("needs aarch64-linux-gnu-g++ and qemu-user")
    made = driver(compiler, "generic", tmp_path / "kernel", ("-O1", "-static"))
    assert made.returncode == 0, made.stderr
    done = subprocess.run([emulator, tmp_path / "kernel"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
