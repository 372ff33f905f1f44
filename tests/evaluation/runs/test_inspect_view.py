"""Inspect's own viewer serves the log that a run was exported to."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import pytest

from heed.evaluation.runs import read_run

pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # theirs


@contextlib.contextmanager
def viewer(folder):
    """`inspect view` over a folder; gives a function that gets a path of its API."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "inspect_ai", "view", "start", "--log-dir", folder, "--port", str(port)]
    own = {"HOME": str(folder.parent), "XDG_DATA_HOME": str(folder.parent / "data")}
    opener = build_opener(ProxyHandler({}))

    def get(path):
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return json.loads(answer.read())

    with subprocess.Popen(
        words, env={**os.environ, **own}, cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    get("/api/logs")
                    break
                except (URLError, ConnectionError):
                    assert server.poll() is None, server.stdout.read().decode()
                    assert time.monotonic() < deadline, "the viewer did not begin to serve"
                    time.sleep(0.1)
            yield get
        finally:
            server.terminate()
            server.wait(10)


def test_inspect_view_opens_an_exported_run(go, scripted, reader, tmp_path):
    from heed.integrations.inspect_log import write_log

    report = go(scripted(lambda prompt: "Answer: " + prompt.split()[2]), 2, reader=reader)
    run, logs = read_run(report.place.folder), tmp_path / "logs"
    logs.mkdir()
    write_log(run, logs / "2026-01-01T00-00-00_sums_one.eval")
    with viewer(logs) as get:
        (listed,) = get("/api/logs")["files"]
        log = get("/api/logs/" + quote(listed["name"], safe=""))
    assert (log["status"], log["eval"]["task"], log["eval"]["model"]) == ("success", "sums", "heed/scripted")
    assert [sample["scores"]["grade"]["value"] for sample in log["samples"]] == ["C", "C"]
    facts = log["samples"][1]["scores"]["citations"]["metadata"]["facts"]
    assert facts == [{"rank": rank, **fact} for rank, fact in enumerate(run.samples[1]["attention"]["facts"], 1)]
