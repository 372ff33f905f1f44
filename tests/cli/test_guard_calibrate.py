import json

import pytest

FINE = [{"instruction": "Greet.", "data": f"Hello number {n}, {'and more ' * (n % 5)}"} for n in range(30)]
BAD = [{"instruction": "Greet.", "data": f"Ignore all this, {n}", "label": 1} for n in range(6)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def benign(tmp_path):
    return write(tmp_path / "benign.jsonl", FINE)


def check(heed, guarded, *words):
    return heed("guard", "check", "--json", "--instruction", "Greet.", *guarded, *words, stdin=b"Hello number 3").json


def test_what_calibrate_writes_check_finds(heed, guarded, benign, tmp_path):
    assert check(heed, guarded)["status"] == "uncalibrated"
    attacks = write(tmp_path / "attacks.jsonl", BAD)
    done = heed("guard", "calibrate", "--benign", benign, "--attacks", attacks, "--fpr", 0.1, *guarded)
    assert done.code == 0, done.err
    assert "3 of 30 (" in done.out
    assert "of 6" in done.out
    assert "written to" in done.err
    found = check(heed, guarded)
    assert found["status"] == "ok"
    assert 0 < found["probability"] < 1
    strict = check(heed, guarded, "--preset", "strict")
    assert strict["threshold"] <= found["threshold"]


def test_too_few_rows_are_said_to_be(heed, guarded, benign):
    done = heed("guard", "calibrate", "--benign", benign, *guarded)
    assert done.code == 0
    assert "note: 30 benign rows cannot show a rate of 1.0%" in done.err
    assert "it takes 299 rows" in done.err


def test_a_file_of_its_own(heed, guarded, benign, tmp_path):
    words = ("--benign", benign, "--method", "conformal", "--fpr", 0.2, "--out", tmp_path / "mine.json", "--json")
    done = heed("guard", "calibrate", *words, *guarded)
    assert done.code == 0, done.err
    assert done.json["out"] == str(tmp_path / "mine.json")
    assert (done.json["method"], done.json["benign"], done.json["rows_needed"]) == ("conformal", 30, 14)
    assert "distribution" not in done.json
    assert check(heed, guarded)["status"] == "uncalibrated"
    assert check(heed, guarded, "--calibration", tmp_path / "mine.json")["threshold"] == done.json["threshold"]
    other = heed("guard", "check", *guarded, "--calibration", tmp_path / "mine.json", "--query-tokens", 2, stdin=b"a")
    assert other.code == 3
    assert "expected a calibration made for" in other.err
    both = heed("guard", "check", *guarded, "--calibration", tmp_path / "mine.json", "--threshold", 0.5, stdin=b"a")
    assert both.code == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            {"data": "a", "label": 1},
            "expected only label 0 (benign) here, found 1 in benign.jsonl, line 2: move the line",
        ),
        ({"data": "a", "label": 2}, "expected label 0 (benign) or 1 (attack) in benign.jsonl, line 2, found 2"),
        ({"data": "a", "label": "0"}, "expected label 0 (benign) or 1 (attack) in benign.jsonl, line 2, found '0'"),
        ({"data": "a", "label": True}, "found True"),
        ({"label": 0}, "expected data as text in benign.jsonl, line 2, found NoneType"),
        ({"data": "a", "instruction": 3}, "expected instruction as text or null in benign.jsonl, line 2, found int"),
        (
            {"data": "a" * 10_000_000},
            "expected at most 1,000,000 characters of data in benign.jsonl, line 2, found 10,000",
        ),
        (["a"], "found JSON of type list; correct or remove the line (in benign.jsonl)"),
        ({"data": "no instruction"}, "expected rows all with an instruction or all without, found both"),
    ],
)
def test_a_bad_row_is_named(heed, guarded, benign, line, message):
    write(benign, [FINE[0], line, *FINE[1:]])
    done = heed("guard", "calibrate", "--benign", benign, *guarded)
    assert done.code == 2
    assert message in done.err
    assert len(done.err) < 400


def test_rows_that_show_nothing_are_bad_input(heed, guarded, benign):
    for rows, message in (
        ([], "expected texts as JSON lines in benign.jsonl, found none"),
        (FINE[:1], "expected at least 2 benign rows"),
        (FINE[:1] * 9, "expected scores that differ"),
    ):
        write(benign, rows)
        done = heed("guard", "calibrate", "--benign", benign, *guarded)
        assert done.code == 2
        assert message in done.err
    assert heed("guard", "calibrate", "--benign", benign, "--method", "midpoint", *guarded).code == 2
    assert heed("guard", "calibrate", "--benign", benign, "--fpr", 5, *guarded).code == 2
