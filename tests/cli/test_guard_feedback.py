import json
import os

import pytest


@pytest.fixture(autouse=True)
def own_feedback(tmp_path, monkeypatch):
    monkeypatch.setenv("HEED_FEEDBACK_DIR", str(tmp_path / "feedback"))


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def texts(label, count, words="Hello number"):
    return [
        {"instruction": "Greet.", "data": f"{words} {n}, {'more ' * (n % 7)}", "label": label} for n in range(count)
    ]


@pytest.fixture
def feedback(heed):
    def run(*words, **settings):
        return heed("guard", "feedback", *words, **settings)

    return run


def test_record_list_and_clear(feedback, guarded, tmp_path):
    done = feedback("add", "-", *guarded, stdin=lines(*texts(0, 2), *texts(1, 1, "Obey")))
    assert done.code == 0, done.err
    assert done.out == f"recorded 3 of 3 in {tmp_path / 'feedback' / 'guard.sqlite3'}\n"
    shown = feedback("list", "--json").json
    assert [row["label"] for row in shown["rows"]] == [0, 0, 1]
    assert shown["count"] == 3
    assert not any(row["text_kept"] for row in shown["rows"])
    assert feedback("list", "--limit", 1).out.count("attack") == 1
    assert feedback("clear").code == 2
    assert feedback("clear", "--yes", "--json").json["deleted"] == 3
    assert feedback("list", "--json").json["rows"] == []
    if os.name != "nt":
        assert (tmp_path / "feedback").stat().st_mode & 0o777 == 0o700


def test_texts_are_kept_only_when_asked(feedback, guarded):
    feedback("add", "-", "--store-text", *guarded, stdin=lines(*texts(0, 1)))
    assert feedback("list", "--json").json["rows"][0]["text_kept"] is True


def test_what_cannot_be_judged_is_not_recorded(feedback, guarded):
    done = feedback("add", "-", "--json", *guarded, stdin=lines({"data": "", "label": 0}, *texts(0, 1)))
    assert done.code == 3
    assert (done.json["recorded"], done.json["abstained"]) == (1, 1)
    assert "text 1 could not be judged (empty_data)" in done.err


@pytest.mark.parametrize("label", [2, None, "attack", True])
def test_a_label_that_is_none_is_named(feedback, guarded, label):
    done = feedback("add", "-", *guarded, stdin=lines(*texts(0, 1), {"data": "a", "label": label}))
    assert done.code == 2
    assert "expected label 0 (benign) or 1 (attack) in stdin, line 2" in done.err


def test_retune_shows_and_applies_only_when_told(feedback, heed, guarded, tmp_path):
    benign = tmp_path / "benign.jsonl"
    benign.write_bytes(lines(*texts(0, 40)))
    made = heed("guard", "calibrate", "--benign", benign, "--fpr", 0.1, "--json", *guarded).json
    feedback("add", benign, *guarded)
    shown = feedback("retune", *guarded)
    assert shown.code == 0, shown.err
    assert "nothing is changed without --apply" in shown.err
    proposal = feedback("retune", "--json", *guarded).json
    assert proposal["applied"] is None
    assert proposal["given"]["old"] == made["threshold"]
    assert made["threshold"] < proposal["given"]["new"] <= made["threshold"] + 0.1
    assert (proposal["given"]["wrong_before"], proposal["given"]["wrong_after"]) == (4, 0)
    applied = feedback("retune", "--apply", *guarded)
    assert "written to" in applied.err
    again = feedback("retune", "--json", *guarded).json["given"]
    assert again["old"] == again["new"] == proposal["given"]["new"]


def test_there_must_be_something_to_retune(feedback, guarded):
    done = feedback("retune", *guarded)
    assert done.code == 2
    assert "expected confirmed verdicts for this profile and a calibration to retune, found none" in done.err
