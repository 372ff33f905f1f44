import json

import pytest

from heed.errors import InputError
from heed.jobs import run_job


def _double(items):
    for item in items:
        n = item.record.get("n")
        if n == "bad":
            raise InputError("expected a number, found 'bad'")
        yield {"line": item.line, "twice": 2 * n if isinstance(n, int) else None}


def _failure(bad):
    return {"line": bad.line, "error": bad.reason, "kind": type(bad.error).__name__, "record": bad.record}


def _run(source, out, work=_double, **options):
    return run_job(source, out, work, **{"config": {"version": 1}, "on_bad_line": _failure, "chunk": 3, **options})


def _lines_of(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture(scope="session")
def double():
    """A work that doubles ``n`` and refuses the word "bad"."""
    return _double


@pytest.fixture(scope="session")
def run():
    """`run_job` with everything filled in that a test does not care about."""
    return _run


@pytest.fixture(scope="session")
def lines_of():
    """The records of an output."""
    return _lines_of


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(10)))
    return path
