"""A server answers, a local model reads the same text: both are named."""

import json

import pytest

from upstream.conftest import Reply, completion

pytest.importorskip("openai", reason="the extra `openai` is not installed")


def test_each_sample_names_who_answered_and_who_read(server, tiny, tmp_path, monkeypatch):
    from heed.evaluation.runs import Reader, load_task, read_run, start
    from heed.upstream import OpenAIUpstream

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    task = tmp_path / "people.json"
    rows = [{"input": "Bob lives in Paris. Ada lives in Rome.\n\nWho lives in Paris?", "target": "Bob"}] * 2
    task.write_text(json.dumps({"examples": rows}))
    server.replies = [Reply(200, completion("Bob.")), Reply(400, {"error": {"message": "bad words"}})]
    upstream = OpenAIUpstream("big-model", base_url=server.url, retries=0)
    start(load_task(task), upstream, tmp_path / "runs", reader=Reader(tiny, method="all_layers"))
    first, second = read_run(tmp_path / "runs" / "big-model" / "people").samples
    assert (first["model"], first["attention"]["read_by"]) == ("big-model-2026", tiny.name)
    assert (first["response"], first["grade"], first["usage"]["prompt_tokens"]) == ("Bob.", "correct", 7)
    assert first["attention"]["status"] == "ok"
    assert (second["status"], second["attention"]) == ("error", None)
    assert "status 400: bad words" in second["error"]
    assert server.asked[0]["messages"][0]["content"] == first["prompt"]


@pytest.fixture
def remote(heed, server, tiny_task, monkeypatch):
    """`heed run start` with a server that answers."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(*words):
        return heed(
            "run", "start", tiny_task, "--base-url", server.url, "--answer-model", "big-model", "--json", *words
        )

    return run


@pytest.fixture
def tiny_task(tmp_path):
    path = tmp_path / "people.json"
    rows = [{"input": f"Bob lives in Paris, {n}.\n\nWho?", "target": "Bob"} for n in range(3)]
    path.write_text(json.dumps({"examples": rows}))
    return path


@pytest.fixture
def heed(tmp_path, monkeypatch, capsys):
    from heed.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return run


def test_a_wrong_key_ends_the_run_and_the_same_call_goes_on_with_the_right_one(remote, server):
    server.replies = [Reply(200, completion("Bob.")), Reply(401, {"error": {"message": "expired"}})]
    code, out, err = remote()
    assert (code, out) == (3, None)
    assert "status 401: expired; give its key" in err
    assert len(server.asked) == 2
    server.replies = [Reply(200, completion("Bob."))]
    code, out, _ = remote()
    assert (code, out["resumed"], out["correct"]) == (0, 1, 3)


def test_a_slow_answer_is_a_timeout_and_errors_can_be_retried(remote, server):
    slow = Reply(200, completion("Bob."), seconds=0.8)
    server.replies = [slow, Reply(400, {"error": {"message": "bad words"}}), Reply(200, completion("Bob."))]
    code, out, _ = remote("--timeout", 0.3)
    assert (code, out["timeouts"], out["errors"], out["correct"]) == (3, 1, 1, 1)
    assert len(server.asked) == 3
    code, out, _ = remote("--timeout", 0.3, "--retry-errors")
    assert (code, out["timeouts"], out["errors"], out["correct"], out["retried"]) == (0, 0, 0, 3, 2)
