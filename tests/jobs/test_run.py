import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from heed.errors import ExtraMissingError, InputError, JobError, OutOfMemoryError, RecordError
from heed.jobs import Progress


def test_every_counted_line_is_answered_in_order(run, lines_of, tmp_path, out):
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"n": 1}\n\nnonsense\n{"n": "bad"}\n{"n": 4}\r\n{"n": "bad"}\n[]\n{"n": 7}')
    told = []
    report = run(source, out, progress=told.append)
    assert [record["line"] for record in lines_of(out)] == [1, 3, 4, 5, 6, 7, 8]
    assert [record.get("twice") for record in lines_of(out)] == [2, None, None, 8, None, None, 14]
    assert [record.get("kind") for record in lines_of(out)] == [
        *(None, "RecordError", "InputError", None, "InputError", "RecordError", None)
    ]
    assert lines_of(out)[2]["record"] == {"n": "bad"}
    assert (report.lines, report.resumed, report.failed, report.already_finished) == (7, 0, 4, False)
    assert told == [Progress(0, 7, 0), Progress(3, 7, 2), Progress(6, 7, 4), Progress(7, 7, 4)]


def _written(path):
    """What changes when a file is written (reading it may change the time of access)."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_a_finished_job_does_nothing_and_says_so(run, source, out):
    run(source, out)
    before, told = _written(out), []
    report = run(source, out, work=lambda items: pytest.fail("worked again"), progress=told.append)
    assert report.already_finished
    assert report.resumed == report.lines == 10
    assert _written(out) == before
    assert told == [Progress(10, 10, 0)]


@pytest.mark.parametrize("source_bytes", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_source_gives_an_empty_finished_output(run, tmp_path, out, source_bytes):
    (tmp_path / "in").write_bytes(source_bytes)
    assert run(tmp_path / "in", out).lines == 0
    assert out.read_bytes() == b""
    assert run(tmp_path / "in", out).already_finished


def test_the_folder_of_the_output_is_made(run, source, tmp_path):
    out = tmp_path / "a" / "b" / "out.jsonl"
    assert run(source, out).lines == 10


def test_only_the_item_that_fails_becomes_a_failure(run, lines_of, double, source, out):
    calls = []

    def work(items):
        calls.append([item.line for item in items])
        if any(item.line == 5 for item in items):
            raise OutOfMemoryError("expected 1 GiB, found less")
        return double(items)

    assert run(source, out, work).failed == 1
    assert calls == [[1, 2, 3], [4, 5, 6], [4], [5], [6], [7, 8, 9], [10]]
    assert [record["line"] for record in lines_of(out) if "error" in record] == [5]


@pytest.mark.parametrize("error", [ExtraMissingError, RuntimeError])
def test_an_error_that_would_meet_every_item_ends_the_job(run, source, out, error):
    def work(items):
        raise error("no library")

    with pytest.raises(error, match="no library"):
        run(source, out, work)
    assert out.read_bytes() == b""


def test_a_work_that_answers_too_few_items_is_refused(run, source, out):
    with pytest.raises(JobError, match="expected 3 records from the job for 3 items, found 1"):
        run(source, out, lambda items: [{}])
    with pytest.raises(JobError, match="expected a JSON object from the job, found int"):
        run(source, out, lambda items: [1 for _ in items])


def test_stop_on_error_keeps_what_came_before_and_names_the_line(run, lines_of, tmp_path, out):
    source = tmp_path / "in"
    source.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3}\n{"n": 4}\nx\n{"n": "bad"}\n')
    with pytest.raises(JobError, match=r"stopped at line 5 of the source: .*invalid JSON") as caught:
        run(source, out, stop_on_error=True)
    assert isinstance(caught.value.__cause__, RecordError)
    assert [record["line"] for record in lines_of(out)] == [1, 2, 3, 4]
    assert run(source, out).failed == 2
    again = tmp_path / "again"
    source.write_bytes(b'{"n": 1}\n{"n": "bad"}\n{"n": 3}\n')
    with pytest.raises(JobError, match="stopped at line 2 of the source: expected a number"):
        run(source, again, stop_on_error=True)
    assert [record["line"] for record in lines_of(again)] == [1]


def test_an_output_that_is_the_source_is_refused(run, source, tmp_path):
    link = tmp_path / "link.jsonl"
    link.hardlink_to(source)
    for out in (source, link):
        with pytest.raises(JobError, match="expected an output other than the source"):
            run(source, out, force=True)
    assert source.read_text().count("\n") == 10


def test_an_output_that_cannot_be_is_refused(run, source, tmp_path):
    with pytest.raises(JobError, match="which is neither: name a file"):
        run(source, tmp_path)
    with pytest.raises(JobError, match=r"expected to write .*in\.jsonl/out"):
        run(source, source / "out")
    with pytest.raises(JobError, match=r"expected to write .*: File name too long"):
        run(source, tmp_path / ("x" * 300))


def test_a_source_that_is_missing_makes_no_folder(run, tmp_path):
    with pytest.raises(RecordError, match="found none: check the path"):
        run(tmp_path / "none", tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_a_chunk_below_one_is_refused(run, source, out):
    with pytest.raises(InputError, match="expected chunk >= 1, found 0"):
        run(source, out, chunk=0)


def test_an_output_in_use_is_refused(run, double, source, out):
    def work(items):
        with pytest.raises(JobError, match="found another process writing it: wait for it"):
            run(source, out)
        return double(items)

    assert run(source, out, work).lines == 10
    with FileLock(out.with_name(".out.jsonl.lock")), pytest.raises(JobError, match="another process"):
        run(source, out)
    assert run(source, out).already_finished


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_is_no_output(run, source):
    with pytest.raises(JobError, match="expected a file or a free name"):
        run(source, Path("/dev/full"))


def test_the_engine_brings_in_neither_torch_nor_numpy():
    code = "import sys, heed.jobs; sys.exit(bool({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
