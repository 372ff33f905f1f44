import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import JobError
from heed.jobs.output import encode_record, open_output, write_atomically


def test_a_record_is_one_line_of_ascii_even_with_lone_surrogates():
    line = encode_record({"a": "é\ud800\n\u2028"})
    assert line == b'{"a": "\\u00e9\\ud800\\n\\u2028"}\n'
    assert json.loads(line) == {"a": "é\ud800\n\u2028"}


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_record_comes_back(record):
    line = encode_record(record)
    assert line.count(b"\n") == 1
    assert json.loads(line) == record


def test_what_is_not_json_is_the_jobs_mistake():
    with pytest.raises(JobError, match="expected a JSON object from the job, found list: fix the job"):
        encode_record([1])
    with pytest.raises(JobError, match="found: Object of type bytes is not JSON serializable; fix the job"):
        encode_record({"a": b""})
    with pytest.raises(JobError, match="expected a record of JSON values from the job"):
        encode_record({"a": float("nan")})


def test_nothing_of_an_append_is_written_if_one_record_is_not_json(tmp_path):
    path = tmp_path / "out"
    with open_output(path) as output, pytest.raises(JobError):
        output.append([{"a": 1}, {"a": b""}])
    assert path.read_bytes() == b""


@pytest.mark.parametrize("torn", [b"", b"{", b'{"a": 2}', b"\x00" * 5000])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    path = tmp_path / "out"
    path.write_bytes(b'{"a": 1}\n{"b": 1}\n' + torn)
    with open_output(path) as output:
        assert output.lines == 2
        output.append([{"c": 1}])
    assert path.read_bytes() == b'{"a": 1}\n{"b": 1}\n{"c": 1}\n'


def test_lines_that_no_job_wrote_are_never_appended_to(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"{}\nnotes\n{")
    with pytest.raises(JobError, match="found something else on line 2"), open_output(path):
        pass
    assert path.read_bytes() == b"{}\nnotes\n{"


def test_every_append_is_fsynced_and_so_is_the_folder_of_a_new_file(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), fsync(handle)))
    path = tmp_path / "out"
    with open_output(path) as output:
        assert synced == [tmp_path.stat().st_ino]
        output.append([{}])
        assert synced[1:] == [path.stat().st_ino]


def test_a_full_disk_is_a_job_error_that_names_the_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_output(tmp_path / "out") as output:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(JobError, match=r"expected to write .*out, found: No space left on device; make room"):
            output.append([{"a": 1}])


def test_an_atomic_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "manifest"
    write_atomically(path, b"old")

    def fail(handle):
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(JobError, match=r"expected to write .*manifest, found: I/O error"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    before = path.stat().st_ino
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before
