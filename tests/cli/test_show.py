"""`heed show` on a tiny model: what it writes, and what it answers to bad input."""

import http.client
import json
import sys

import numpy as np
import pytest

import heed as library
from heed.probe import Trace

MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]


@pytest.fixture
def reading(tiny):
    return ["--model", tiny, "--dtype", "float32"]


@pytest.mark.parametrize(
    "text", ["a", "a b. c d.", "x\ny\tz", "שלום \u202egnorw", "😀" * 9, "<script>alert(1)</script>"]
)
def test_a_text_is_shown_on_the_terminal(heed, reading, text):
    done = heed("show", "text", text, *reading)
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "2 layers × 2 heads" in done.out


def test_files_are_written_and_named(heed, reading, tmp_path):
    targets = ["--html", "a.html", "--png", "a.png", "--svg", "a.svg", "--save-trace", "a.safetensors"]
    done = heed("show", "text", "The cat sat.", *reading, *targets, "--layer", "1", "--head", "0", "--view", "heads")
    assert (done.code, done.out.split()) == (0, ["a.html", "a.png", "a.svg"])
    page = (tmp_path / "a.html").read_text()
    assert '"open":{"view":"heads","layer":1,"head":0}' in page
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    shown = heed("show", "trace", "a.safetensors", "--json")
    assert "".join(shown.json["tokens"]) == "The cat sat."


def test_the_second_time_it_is_cached_and_says_so(heed, reading):
    assert heed("show", "text", "abc", *reading, "--json").json["cached"] is False
    assert heed("show", "text", "abc", *reading, "--json").json["cached"] is True
    assert "analysed before" in heed("show", "text", "abc", *reading).out
    assert heed("show", "text", "abc", *reading, "--json", "--no-cache").json["cached"] is False
    assert heed("cache", "info", "--json").json["analyses"]["entries"] == 2
    cleared = heed("cache", "clear", "--analyses", "--yes", "--json")
    assert (cleared.json["analyses"]["entries"], cleared.json["deleted"]) == (2, [])
    assert heed("show", "text", "abc", *reading, "--json").json["cached"] is False


def test_a_file_and_a_conversation(heed, reading, tmp_path):
    (tmp_path / "a.txt").write_text("Hello there.")
    assert "".join(heed("show", "file", "a.txt", *reading, "--json").json["tokens"]) == "Hello there."
    assert heed("show", "file", "-", *reading, "--json", stdin=b"Hi").json["tokens"] == ["H", "i"]
    (tmp_path / "a.json").write_text(json.dumps(MESSAGES))
    done = heed("show", "file", "a.json", "--chat", *reading, "--view", "flow", "--html", "a.html", "--json")
    assert "instruction" in done.json["statistics"]
    assert '"names":["system","user"]' in (tmp_path / "a.html").read_text()


def test_what_the_model_adds_is_shown(heed, reading):
    assert len(heed("show", "text", "abc", *reading, "--new-tokens", "3", "--json").json["tokens"]) > 3


def test_an_array_of_somebody_else(heed, tmp_path):
    np.savez(tmp_path / "a.npz", attention=np.eye(3)[None], tokens=np.array(["a", "b", "c"]))
    assert heed("show", "array", "a.npz", "--json").json["tokens"] == ["a", "b", "c"]
    weights = np.eye(3)
    weights[1, 1] = 7
    np.savez(tmp_path / "b.npz", attention=weights)
    done = heed("show", "array", "b.npz")
    assert (done.code, done.out) == (2, "")
    assert "the first sums to 7, at batch 0, head 0, row 1" in done.err


@pytest.mark.parametrize("kind", ["array", "trace"])
@pytest.mark.parametrize("name", ["missing.npz", "-"])
def test_binary_files_are_not_read_from_stdin_and_nobody_says_they_were(heed, kind, name):
    done = heed("show", kind, name, stdin=b"PK")
    assert (done.code, done.out) == (2, "")
    assert f"expected a file at {name}, found nothing: check the path" in done.err
    assert "stdin" not in done.err


def test_patterns_are_marked(heed, tmp_path):
    done = heed("show", "synthetic", "sink", "--tokens", "9", "--html", "a.html", "--json")
    assert done.json["watermark"] == "SYNTHETIC"
    assert '"watermark":"SYNTHETIC"' in (tmp_path / "a.html").read_text()
    assert "SYNTHETIC" in heed("show", "synthetic", "sink").out
    assert heed("show", "synthetic", "nobody").code == 2


def test_a_model_that_cannot_be_had_is_never_imitated_unless_it_is_said(heed, tiny):
    done = heed("show", "text", "abc", "--model", "no-such-model")
    assert (done.code, done.out) == (3, "")
    assert "--surrogate embedded" in done.err
    shown = heed("show", "text", "abc", "--model", "no-such-model", "--surrogate", tiny, "--json")
    assert shown.json["watermark"] == f"surrogate: {tiny}, not no-such-model"
    assert "says nothing certain of no-such-model" in shown.json["notes"][0]


def test_a_surrogate_is_not_read_where_the_model_can_be(heed, reading):
    shown = heed("show", "text", "abc", *reading, "--surrogate", "no-such-model", "--json")
    assert shown.json["watermark"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text", ""], "at least one character, found an empty one"),
        (["text", "a" * 513], "expected at most 512 tokens"),
        (["text", "a", "--layer", "7"], "expected a layer among 0, 1, found 7"),
        (["text", "a", "--head", "7"], "expected a head among 0, 1"),
        (["text", "a", "--view", "flow"], "expected named parts"),
        (["text", "a", "--view", "tokens", "--png", "a.png"], "expected map, heads or flow for an image"),
        (["text", "a", "--open"], "expected --html FILE or --serve"),
        (["text", "a", "--allow-host", "example.org"], "expected --serve beside it"),
        (["text", "a", "--html", "x.html", "--png", "x.html"], "found one named twice"),
        (["text", "a", "--html", "missing/a.html"], "expected a folder 'missing'"),
        (["text", "a", "--html", "."], "found the folder"),
        (["file", "missing.txt"], "expected a file at missing.txt"),
        (["file", "there.html", "--chat"], "expected JSON in there.html"),
    ],
)
def test_bad_input(heed, reading, tmp_path, words, said):
    (tmp_path / "there.html").write_text("old")
    done = heed("show", *words, *reading)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_file_that_is_there_stays_unless_forced(heed, reading, tmp_path):
    (tmp_path / "a.html").write_text("old")
    done = heed("show", "text", "a", *reading, "--html", "a.html")
    assert (done.code, (tmp_path / "a.html").read_text()) == (2, "old")
    assert "--force" in done.err
    assert heed("show", "text", "a", *reading, "--html", "a.html", "--force").code == 0
    assert "<title>" in (tmp_path / "a.html").read_text()


def test_a_target_that_cannot_be_written(heed, reading, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    done = heed("show", "text", "a", *reading, "--html", "a.html", "--no-cache")
    assert (done.code, "No space left on device" in done.err) == (2, True)


def test_traces_that_are_none(heed, tmp_path, tiny):
    (tmp_path / "a.safetensors").write_bytes(b"no trace")
    assert "cannot be read" in heed("show", "trace", "a.safetensors").err
    library.trace(library.load(tiny, dtype="float32"), "abc").save("b.safetensors")
    raw = (tmp_path / "b.safetensors").read_bytes()
    assert raw.count(b'\\"version\\": 1') == 1
    (tmp_path / "c.safetensors").write_bytes(raw.replace(b'\\"version\\": 1', b'\\"version\\": 9'))
    done = heed("show", "trace", "c.safetensors")
    assert (done.code, "expected trace version 1, found 9" in done.err) == (2, True)
    assert Trace.load("b.safetensors").labels.tokens == ("a", "b", "c")


def test_not_a_number_is_refused_where_it_is_found(heed, tmp_path):
    np.savez(tmp_path / "a.npz", attention=np.full((2, 2), np.nan))
    assert "expected finite weights, found 4 that are not" in heed("show", "array", "a.npz").err


def test_without_matplotlib_the_extra_is_named(heed, reading, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = heed("show", "text", "a", *reading, "--png", "a.png")
    assert (done.code, "heed[figures]" in done.err) == (3, True)


def test_the_page_is_opened(heed, reading, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    heed("show", "text", "a", *reading, "--html", "a.html", "--open")
    assert opened == [(tmp_path / "a.html").as_uri()]


def test_a_page_is_served_under_the_names_allowed_and_its_port_is_told(heed, monkeypatch):
    pytest.importorskip("uvicorn", reason="needs the extra `serve`")
    answers = {}

    def ask(served):
        for name in ("localhost", "heed.example", "other.example", "evil.example"):
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
            connection.request("GET", "/" + served.url.split("/")[3] + "/status", headers={"Host": name})
            answers[name] = connection.getresponse().status
            connection.close()
        answers["port"] = served.port

    monkeypatch.setattr("heed.picture.serve.Served.wait", ask)
    names = ["--allow-host", "heed.example", "--allow-host", "OTHER.example"]
    done = heed("show", "synthetic", "sink", "--serve", *names)
    port = answers.pop("port")
    assert answers == {"localhost": 200, "heed.example": 200, "other.example": 200, "evil.example": 421}
    assert (done.code, done.out.startswith(f"http://127.0.0.1:{port}/")) == (0, True)
    assert done.err.splitlines()[-1].endswith(f"again with: --port {port}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "256.1.1.1"], "expected a name or an address of this machine to serve at, found '256.1.1.1'"),
        (["--host", "192.0.2.1"], "expected an address of this machine to serve at, found '192.0.2.1'"),
        (["--allow-host", "http://a.example"], "without scheme and port, found 'http://a.example'"),
        (["--allow-host", "a.example:80"], "without scheme and port"),
    ],
)
def test_what_cannot_be_served_at_is_named(heed, words, said):
    pytest.importorskip("uvicorn", reason="needs the extra `serve`")
    done = heed("show", "synthetic", "sink", "--serve", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
