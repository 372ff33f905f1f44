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
    server.replies = [Reply(200, completion("Bob.")), Reply(401, {"error": {"message": "expired"}})]
    upstream = OpenAIUpstream("big-model", base_url=server.url, retries=0)
    start(load_task(task), upstream, tmp_path / "runs", reader=Reader(tiny, method="all_layers"))
    first, second = read_run(tmp_path / "runs" / "big-model" / "people").samples
    assert (first["model"], first["attention"]["read_by"]) == ("big-model-2026", tiny.name)
    assert (first["response"], first["grade"], first["usage"]["prompt_tokens"]) == ("Bob.", "correct", 7)
    assert first["attention"]["status"] == "ok"
    assert (second["status"], second["attention"]) == ("error", None)
    assert "status 401: expired" in second["error"]
    assert server.asked[0]["messages"][0]["content"] == first["prompt"]
