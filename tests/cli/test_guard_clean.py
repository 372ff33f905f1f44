"""`heed guard clean`: what is printed where, and the exit codes."""

import json

import pytest

from fake_guard import FakeGuard
from heed.guard import Guard

TEXT = "Hallo é.\r\nBAD thing.\r\nBye.\r\n"


@pytest.fixture
def located(monkeypatch):
    """The guard judges as `FakeGuard` does: it knows where an injection stands."""
    monkeypatch.setattr(Guard, "check_many", lambda self, pairs, **_: FakeGuard().check_many(pairs))


def test_the_cleaned_text_goes_out_and_what_was_removed_is_told(heed, guarded, located):
    done = heed("guard", "clean", "--instruction", "Greet.", *guarded, stdin=TEXT.encode())
    assert (done.code, done.out) == (0, "Hallo é.\r\nBye.\r\n")
    first, last = done.err.splitlines()
    assert first == "removed characters 8 to 20: '\\r\\nBAD thing.'"
    assert "12 of 28 characters removed in 1 rounds, clean now" in last


def test_a_mask_stands_in_its_place(heed, guarded, located):
    done = heed("guard", "clean", "--mask", *guarded, stdin=TEXT.encode())
    assert (done.code, done.out) == (0, "Hallo é.\r\n[removed by heed]\r\nBye.\r\n")


def test_a_fine_text_comes_out_to_the_letter(heed, guarded, located):
    fine = " \ttab, \u202e, NUL \0 and a carriage return\r, no line end"
    done = heed("guard", "clean", "-", *guarded, stdin=fine.encode())
    assert (done.code, done.out) == (0, fine)
    assert "nothing to remove" in done.err


@pytest.mark.usefixtures("located")
@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("WORSE", (1, "still_flagged", "still flagged")),
        ("UNSURE", (3, "abstained", "the guard abstained")),
        ("BAD", (3, "emptied", "nothing was left")),
        ("", (3, "abstained", "the guard abstained")),
    ],
)
def test_what_may_not_pass_is_not_printed(heed, guarded, text, end):
    code, status, said = end
    done = heed("guard", "clean", *guarded, stdin=text.encode())
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    shown = heed("guard", "clean", "--json", *guarded, stdin=text.encode())
    assert (shown.code, shown.json["status"], shown.json["allow"]) == (code, status, False)


def test_json_says_all_of_it(heed, guarded, located, tmp_path):
    path = tmp_path / "tool.json"
    path.write_text(json.dumps({"n": 1, "body": "Hi. BAD \u00e9."}), encoding="utf-8")
    done = heed("guard", "clean", path, "--json", *guarded)
    found = done.json
    assert list(found)[:6] == ["id", "model", "allow", "status", "text", "removed"]
    assert json.loads(found["text"]) == {"n": 1, "body": "Hi. "}
    assert found["removed"][0]["field"] == "$.body"
    assert (found["before"]["flagged"], found["after"]["flagged"]) == (True, False)


def test_hostile_text_cannot_move_the_cursor_on_stderr(heed, guarded, located):
    done = heed("guard", "clean", *guarded, stdin="Hi. BAD \u202e\x1b[2J thing.".encode())
    assert "\x1b" not in done.err
    assert "\u202e" not in done.err


def test_the_real_guard_is_asked(heed, guarded):
    assert heed("guard", "clean", "--threshold", 1, *guarded, stdin=TEXT.encode()).out == TEXT
    done = heed("guard", "clean", "--threshold", 0, "--rounds", 1, *guarded, stdin=TEXT.encode())
    assert (done.code, done.out) in {(1, ""), (3, "")}


@pytest.mark.parametrize("words", [["--rounds", 0], ["--instruction", "a", "--instruction-file", "b"]])
def test_bad_usage_is_found_before_the_model_is_loaded(heed, words):
    assert heed("guard", "clean", *words, "--model", "./no-model", stdin=b"Hi").code == 2
