import json

import pytest

from heed.errors import OutOfMemoryError

LOST = ["guard", "check", "--model", "./no-model", "--instruction", "secret"]


def log(done):
    """The JSON lines of stderr, and the others."""
    lines = done.err.splitlines()
    return [json.loads(line) for line in lines if line[0] == "{"], [line for line in lines if line[0] != "{"]


def test_a_failed_command_is_one_record_beside_its_line(heed):
    done = heed("--log-json", *LOST, stdin=b"secret")
    (record,), told = log(done)
    assert done.code == 3
    assert told[0].startswith("error: expected a model folder")
    assert (record["level"], record["event"], record["error"], record["exit_code"]) == (
        "ERROR", "the command failed", "ModelNotFoundError", 3,
    )  # fmt: skip
    assert record["where"].startswith("model/load.py:")


def test_the_variable_does_the_same_and_neither_nothing(heed, monkeypatch):
    assert log(heed(*LOST))[0] == []
    monkeypatch.setenv("HEED_LOG", "json")
    assert len(log(heed(*LOST))[0]) == 1
    monkeypatch.setenv("HEED_LOG", "")
    assert log(heed(*LOST))[0] == []


@pytest.mark.parametrize(("name", "value"), [("HEED_LOG", "xml"), ("HEED_THREADS", "many")])
def test_a_variable_of_no_such_value_is_bad_input(heed, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    done = heed(*LOST)
    assert done.code == 2
    assert done.err.startswith(f"error: {name}: ")
    assert f"found {value!r}: correct or unset the variable" in done.err


def test_no_record_holds_the_text(heed, guarded, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OutOfMemoryError("no memory for secret")

    source = tmp_path / "in.jsonl"
    source.write_text('{"data": "secret"}\n{"data": ["secret"]}\n', encoding="utf-8")
    monkeypatch.setattr("heed.guard.listening.HeadListening.hear", full)
    done = heed("--log-json", "guard", "scan", source, "--out", tmp_path / "out", "--stop-on-error", *guarded)
    records, _ = log(done)
    assert [(r.get("status"), r.get("error")) for r in records] == [("out_of_memory", None), (None, "JobError")]
    assert "secret" not in json.dumps(records)


def test_a_bug_and_an_interrupt_are_recorded(heed, monkeypatch):
    for error, code in ((ZeroDivisionError("secret"), 3), (KeyboardInterrupt(), 130)):

        def fail(error=error):
            raise error

        monkeypatch.setattr("heed.model.cache.cache_info", fail)
        (record,), _ = log(heed("--log-json", "cache", "info"))
        assert (record["error"], record["exit_code"]) == (type(error).__name__, code)
        assert "secret" not in json.dumps(record)
