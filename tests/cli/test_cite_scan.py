import json

import pytest

from cite_rows import ROWS, ranking_profile, write_rows
from heed.cli import cite_scan as module

FIELDS = ["id", "ranking", "scores", "response", "seconds"]


@pytest.fixture(scope="session")
def ranking(tiny, tmp_path_factory):
    return ranking_profile(tmp_path_factory.mktemp("ranking") / "profile.json", tiny)


@pytest.fixture
def scan(heed, tiny, ranking):
    def run(source, *words, **more):
        model = () if "--method" in words else ("--model", tiny, "--profile", ranking, "--dtype", "float32")
        return heed("cite", "scan", source, "--out", "out.jsonl", *model, *words, **more)

    return run


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_line_is_answered_in_order(scan, tmp_path):
    done = scan(write_rows(tmp_path / "in.jsonl", *ROWS))
    assert done.code == 0, done.err
    found = read(tmp_path / "out.jsonl")
    assert [line["id"] for line in found] == ["a", 7, 3]
    assert all(list(line) == FIELDS for line in found)
    assert [sorted(line["ranking"]) for line in found] == [[0, 1, 2], [0, 1, 2], [0, 1]]
    assert [line["response"] for line in found] == [None, "Cy did. He did.", None]
    assert found[1]["ranking"][-1] == 1  # a blank unit is no fact
    assert found[1]["scores"][1] is None
    scores = found[0]["scores"]
    assert [scores[place] for place in found[0]["ranking"]] == sorted(scores, reverse=True)


def test_a_method_without_a_model_loads_none(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    assert scan(write_rows(tmp_path / "in.jsonl", *ROWS), "--method", "bm25+recency").code == 0
    assert scan(write_rows(tmp_path / "in.jsonl", *ROWS), "--method", "bm25", "--force").code == 0
    assert [line["ranking"][0] for line in read(tmp_path / "out.jsonl")] == [1, 2, 0]


def test_the_model_answers_where_a_line_has_no_response(scan, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("heed.citation.generate.answer", lambda model, question: f"Of {question.text}")
    source = write_rows(tmp_path / "in.jsonl", *ROWS[:2])
    done = scan(source, "--generate", "--method", "last_quarter", "--model", tiny)
    assert done.code == 0, done.err
    assert [line["response"] for line in read(tmp_path / "out.jsonl")] == ["Of Who left?", "Cy did. He did."]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{not json", "invalid JSON"),
        (b"\xff{}", "not UTF-8"),
        ({"id": "x"}, "expected question as text in line 2, found none"),
        ({**ROWS[0], "units": "Ann came."}, "expected units as a list of texts in line 2"),
        ({**ROWS[0], "units": []}, "expected units as a list of texts in line 2"),
        ({**ROWS[0], "question": ""}, "expected a question with text"),
        ({**ROWS[0], "response": " "}, "expected a response with text"),
        ({**ROWS[0], "separator": " and "}, "expected units that add up to the context"),
        (b'{"question": "\\ud800", "units": ["a"]}', "line 2"),
        ({**ROWS[0], "units": ["word " * 200]}, "expected question, answer and one fact within 512 tokens"),
    ],
)
def test_a_bad_line_is_named_and_does_not_stop_the_rest(scan, tmp_path, line, reason):
    done = scan(write_rows(tmp_path / "in.jsonl", ROWS[0], line, ROWS[2]), "--json")
    found = read(tmp_path / "out.jsonl")
    assert (done.code, done.json["bad"], done.json["cited"]) == (3, 1, 2)
    assert done.err.startswith("line 2: ")
    assert reason in done.err
    assert list(found[1]) == [*FIELDS, "error"]
    assert (found[1]["ranking"], found[0]["ranking"] is None) == (None, False)
    assert reason in found[1]["error"]


def test_a_scan_goes_on_where_it_stopped(scan, tmp_path):
    source, out = write_rows(tmp_path / "in.jsonl", *ROWS), tmp_path / "out.jsonl"
    scan(source)
    whole = read(out)
    first = out.read_bytes().splitlines(keepends=True)[0]
    out.write_bytes(first + b'{"id": 7, "rank')
    done = scan(source, "--json")
    assert (done.code, done.json["resumed"]) == (0, 1)
    assert [line["ranking"] for line in read(out)] == [line["ranking"] for line in whole]
    assert out.read_bytes().startswith(first)


def test_another_method_is_another_job(scan, ranking, tiny, tmp_path):
    source = write_rows(tmp_path / "in.jsonl", *ROWS)
    scan(source, "--method", "lead")
    refused = scan(source, "--method", "recency")
    assert (refused.code, 'method (was "lead", is "recency")' in refused.err) == (3, True)
    other = write_rows(tmp_path / "other.jsonl", ROWS[0])
    assert "the source (was 3 lines" in scan(other, "--method", "lead").err
    assert scan(source, "--method", "recency", "--force").code == 0
    assert scan(source, "--method", "attrieval", "--model", tiny, "--force").code == 0
    changed = scan(source, "--method", "attrieval", "--model", tiny, "--set", "sink=paper")
    assert (changed.code, "settings.sink" in changed.err) == (3, True)


def test_another_profile_is_another_job(scan, heed, ranking, tiny, tmp_path):
    source = write_rows(tmp_path / "in.jsonl", *ROWS)
    assert scan(source).code == 0
    other = json.loads(ranking.read_text())
    other["weights"]["response"] = {"shape": [1, 1, 2], "data": "AACAPwAAgD8="}
    (tmp_path / "other.json").write_text(json.dumps(other))
    words = ["--model", tiny, "--profile", tmp_path / "other.json", "--dtype", "float32", "--method", "learned"]
    refused = scan(source, *words)
    assert (refused.code, "profile (was" in refused.err) == (3, True)


def test_stdin_is_a_source_and_an_empty_one_is_fine(scan, tmp_path):
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    assert scan("-", "--method", "bm25", "--json", stdin=lines).json["cited"] == 3
    done = scan(write_rows(tmp_path / "in.jsonl"), "--method", "bm25", "--force")
    assert done.code == 0
    assert "the old output is kept as" in done.err


def test_stop_on_error_stops_at_the_line(scan, tmp_path):
    done = scan(write_rows(tmp_path / "in.jsonl", ROWS[0], b"{bad", ROWS[2]), "--method", "bm25", "--stop-on-error")
    assert (done.code, "stopped at line 2" in done.err) == (3, True)
    assert len(read(tmp_path / "out.jsonl")) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "bm52"],
        ["--method", "heads"],
        ["--method", "attrieval", "--set", "top_k=abc"],
        ["--set", "3=4"],
        ["--set", "rows=question"],
        ["--rows", "words"],
    ],
)
def test_bad_usage_comes_before_a_model(scan, tmp_path, monkeypatch, words):
    monkeypatch.setattr(module, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    done = scan(write_rows(tmp_path / "in.jsonl", *ROWS), *words)
    assert (done.code, "internal error" in done.err) == (2, False)
    assert scan(tmp_path / "missing.jsonl").code == 2
