import os
import subprocess
import sys
import warnings
from pathlib import Path
from time import perf_counter

import pytest

from heed import __version__
from heed.cli import main as main_module
from heed.cli.main import main

PYTHON = [sys.executable, "-W", "ignore", "-c"]


def in_own_process(code: str, **settings) -> subprocess.CompletedProcess:
    return subprocess.run([*PYTHON, code], capture_output=True, text=True, timeout=60, check=False, **settings)


@pytest.mark.parametrize("words", [["--help"], ["guard", "--help"], ["guard", "scan", "--help"], ["models", "--help"]])
def test_help_comes_without_a_model_library_and_at_once(words):
    code = (
        "import sys; from heed.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    started = perf_counter()
    done = subprocess.run([*PYTHON, code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert perf_counter() - started < 10, "generous: the machine may be loaded; importing torch takes its share of this"
    assert "Usage: heed" in done.stdout


def test_the_exit_codes_stand_in_the_help(heed):
    assert "3 could not run or abstained" in " ".join(heed("--help").out.split())


def test_version(heed):
    done = heed("--version")
    assert (done.code, done.out) == (0, f"heed {__version__}\n")


def test_no_command_shows_help_and_is_bad_usage(heed):
    done = heed()
    assert done.code == 2
    assert "Usage: heed" in done.out
    assert done.err == "error: a command is missing (see `heed --help`)\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["gard"], "No such command 'gard'. Did you mean 'guard'"),
        (["guard", "check", "--dtype", "int3"], "'int3' is not one of"),
        (["guard", "check", "--nothing"], "No such option"),
        (["guard", "check", "--threshold", "1.5"], "Invalid value for '--threshold'"),
        (["guard", "scan", "missing.jsonl"], "Missing option '--out'"),
        (["guard", "scan", "missing.jsonl", "--out", "o"], "expected a file at missing.jsonl, found nothing"),
        (["guard", "scan", ".", "--out", "o"], "expected a file at ., found a folder"),
        (["guard", "check", "missing.txt"], "expected a file at missing.txt, found nothing"),
        (
            ["guard", "check", "--profile", "missing.json"],
            "expected fast or full, or a file or folder, found 'missing.json'",
        ),
    ],
)
def test_bad_usage_is_one_clean_message(heed, words, found):
    done = heed(*words)
    assert done.code == 2
    assert found in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""


def crash(*_, **__):
    warnings.warn("a library grumbles", stacklevel=1)
    raise ZeroDivisionError("by nothing\nat all")


def test_a_bug_is_one_line_and_exit_code_3(heed, monkeypatch):
    monkeypatch.setattr("heed.model.cache.cache_info", crash)
    done = heed("cache", "info")
    assert done.code == 3
    expected = "internal error: ZeroDivisionError: by nothing (run `heed --debug …` for the traceback)\n"
    assert done.err == expected


def test_debug_shows_the_traceback_and_the_warnings(heed, monkeypatch):
    monkeypatch.setattr("heed.model.cache.cache_info", crash)
    with pytest.warns(UserWarning, match="grumbles"):
        done = heed("--debug", "cache", "info")
    assert done.code == 3
    assert "Traceback" in done.err
    assert "ZeroDivisionError: by nothing" in done.err


def test_an_error_of_heed_shows_its_traceback_only_with_debug(heed):
    plain, debug = heed("guard", "check"), heed("--debug", "guard", "check")
    assert (plain.code, debug.code) == (3, 3)
    assert "heed models pull" in plain.err
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err


def test_an_interrupt_is_exit_code_130(heed, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("heed.model.cache.cache_info", interrupt)
    done = heed("cache", "info")
    assert (done.code, done.err) == (130, "interrupted\n")


def test_an_error_cannot_move_the_cursor(heed, monkeypatch):
    def hostile():
        raise OSError("\x1b[2Jcleared\u202e")

    monkeypatch.setattr("heed.model.cache.cache_info", hostile)
    err = heed("cache", "info").err
    assert "\x1b" not in err
    assert "⟨RLO⟩" in err


def test_logging_is_as_before_afterwards(heed):
    import logging

    before = logging.root.manager.disable
    heed("cache", "info")
    assert logging.root.manager.disable == before


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
def test_a_reader_that_leaves_is_no_error():
    """Not 1, which would say "flagged", and nothing on stderr."""
    code = (
        "import sys; from heed.cli import main as m\n"
        "def talk(): [print('x' * 80) for _ in range(20000)]\n"
        "import heed.cli.cache\n"
        "m._invoke = lambda *_: talk()\n"
        "m.run()"
    )
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run([*PYTHON, code], stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (main_module.BROKEN_PIPE, b"")


def test_run_survives_a_terminal_that_knows_ascii_only(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "HEED_CACHE_DIR": str(tmp_path)}
    code = "import sys; sys.argv = ['heed', '--help']; from heed.cli.main import run; run()"
    done = in_own_process(code, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Usage: heed" in done.stdout


def test_main_takes_the_words_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["heed", "--version"])
    assert main() == 0
    assert __version__ in capsys.readouterr().out


def test_the_script_is_installed():
    assert Path(sys.executable).with_name("heed").exists() or os.name == "nt"
