"""Feedback: what is kept, what is not, and that it stays private, bounded and whole."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from heed.errors import InputError, StoreError
from heed.guard import Feedback
from heed.guard.prompt import NEUTRAL_INSTRUCTION
from heed.guard.verdict import Verdict

SECRET = "the account number is 4711"


def verdict(data=SECRET, score=0.4, instruction="Do."):
    return Verdict("ok", "", flagged=score >= 0.5, score=score, threshold=0.5, instruction=instruction, data=data)


@pytest.fixture
def store(tmp_path) -> Feedback:
    return Feedback(tmp_path / "kept" / "feedback.sqlite3")


def test_what_is_recorded_comes_back(store) -> None:
    store.add(verdict(), 1, made_for="p/first")
    store.add(verdict("other", 0.7, NEUTRAL_INSTRUCTION), 0, made_for="q/first")
    first, second = store.rows()
    assert (first.score, first.threshold, first.flagged, first.label, first.given) == (0.4, 0.5, False, 1, True)
    assert (second.score, second.flagged, second.label, second.given) == (0.7, True, 0, False)
    assert first.time <= second.time
    assert store.rows(made_for="q/first") == [second]
    assert store.rows(given=True) == [first]
    assert store.rows(made_for="p/first", given=False) == []


def test_no_text_reaches_the_disk_unless_asked(store) -> None:
    row = store.add(verdict(), 1, made_for="p")
    assert (row.instruction, row.data, len(row.sha256)) == (None, None, 64)
    assert "text_kept" in row.record()
    assert not any(SECRET.encode() in file.read_bytes() for file in store.path.parent.iterdir())
    store.add(verdict(), 1, made_for="p", store_text=True)
    assert store.rows()[0].data == SECRET
    assert SECRET not in str(store.rows()[0].record())
    assert store.clear() == 1
    assert not any(SECRET.encode() in file.read_bytes() for file in store.path.parent.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_folder_and_files_are_private(store) -> None:
    store.add(verdict(), 1, made_for="p")
    assert store.path.parent.stat().st_mode & 0o777 == 0o700
    with sqlite3.connect(store.path) as base:  # a second connection keeps the write-ahead log alive
        base.execute("SELECT count(*) FROM feedback").fetchone()
        store.add(verdict("more"), 1, made_for="p")
        modes = {file.name: file.stat().st_mode & 0o777 for file in store.path.parent.iterdir()}
    base.close()
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}
    store.path.chmod(0o644)
    store.rows()
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_the_latest_label_of_a_text_counts(store) -> None:
    for label in (0, 1):
        store.add(verdict(), label, made_for="p")
    store.add(verdict(), 0, made_for="another profile")
    assert [row.label for row in store.rows(made_for="p")] == [1]
    assert len(store.rows()) == 2


def test_the_oldest_rows_go_first(tmp_path) -> None:
    store = Feedback(tmp_path / "f.sqlite3", most_rows=3)
    for name in "abcde":
        store.add(verdict(name), 0, made_for="p", store_text=True)
    store.add(verdict("c"), 1, made_for="p", store_text=True)
    assert [row.data for row in store.rows()] == ["d", "e", "c"]


def test_threads_do_not_lose_rows(store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: store.add(verdict(str(name)), 0, made_for="p"), range(20)))
    assert len(store.rows()) == 20


def test_odd_text_can_be_kept(store) -> None:
    store.add(verdict("a\ud800b\0\u202e"), 1, made_for="p", store_text=True)
    assert store.rows()[0].data == "a\\ud800b\0\u202e"


@pytest.mark.parametrize("label", [2, -1, "1", 0.0, True, None])
def test_labels_other_than_0_and_1_are_refused(store, label) -> None:
    with pytest.raises(InputError, match=r"expected label 0 \(benign\) or 1 \(attack\), found"):
        store.add(verdict(), label, made_for="p")


def test_an_abstention_cannot_be_confirmed(store) -> None:
    with pytest.raises(InputError, match=r"found that the guard abstained \(empty_data\)"):
        store.add(Verdict("empty_data", "nothing"), 1, made_for="p")


def test_a_file_that_is_not_heeds_is_left_alone(tmp_path) -> None:
    path = tmp_path / "f.sqlite3"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(StoreError, match=r"expected heed's feedback in .*f.sqlite3, found: file is not a database"):
        Feedback(path).rows()
    with pytest.raises(StoreError, match="expected heed's feedback"):
        Feedback(tmp_path).rows()
    path.unlink()
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA user_version = 7")
    base.close()
    with pytest.raises(StoreError, match=r"expected feedback of version 1 in .*, found 7"):
        Feedback(path).rows()
