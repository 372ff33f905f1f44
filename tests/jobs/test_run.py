import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import ExtraMissingError, InputError, JobError, OutOfMemoryError, RecordError
from heed.jobs import Progress, run_job
from heed.jobs.manifest import manifest_path


def double(items):
    for item in items:
        n = item.record.get("n")
        if n == "bad":
            raise InputError("expected a number, found 'bad'")
        yield {"line": item.line, "twice": 2 * n if isinstance(n, int) else None}


def failure(bad):
    return {"line": bad.line, "error": bad.reason, "kind": type(bad.error).__name__, "record": bad.record}


def run(source, out, work=double, **options):
    return run_job(source, out, work, **{"config": {"version": 1}, "on_bad_line": failure, "chunk": 3, **options})


def lines_of(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(10)))
    return path


def test_every_counted_line_is_answered_in_order(tmp_path, out):
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


def test_a_finished_job_does_nothing_and_says_so(source, out):
    run(source, out)
    before, told = out.stat(), []
    report = run(source, out, work=lambda items: pytest.fail("worked again"), progress=told.append)
    assert report.already_finished
    assert report.resumed == report.lines == 10
    assert out.stat() == before
    assert told == [Progress(10, 10, 0)]


@pytest.mark.parametrize("source_bytes", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_source_gives_an_empty_finished_output(tmp_path, out, source_bytes):
    (tmp_path / "in").write_bytes(source_bytes)
    assert run(tmp_path / "in", out).lines == 0
    assert out.read_bytes() == b""
    assert run(tmp_path / "in", out).already_finished


def test_the_folder_of_the_output_is_made(source, tmp_path):
    out = tmp_path / "a" / "b" / "out.jsonl"
    assert run(source, out).lines == 10


@pytest.mark.parametrize("keep", [0, 1, 4, 9, 10])
@pytest.mark.parametrize("torn", ["", '{"twice', "{}"])
def test_a_rerun_continues_after_the_last_whole_line(source, out, keep, torn):
    run(source, out)
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:keep]) + torn.encode())
    seen = []

    def work(items):
        assert not json.loads(manifest_path(out).read_bytes())["finished"]
        seen.extend(item.line for item in items)
        return double(items)

    report = run(source, out, work)
    assert out.read_bytes() == whole
    assert report.resumed == keep
    assert seen == list(range(keep + 1, 11))


def test_a_change_of_chunk_does_not_make_another_job(source, out):
    run(source, out, chunk=1)
    assert run(source, out, chunk=64).already_finished


def test_an_interrupt_keeps_what_was_written(source, out):
    def work(items):
        if items[0].line > 3:
            raise KeyboardInterrupt
        return double(items)

    with pytest.raises(KeyboardInterrupt):
        run(source, out, work)
    assert len(lines_of(out)) == 3
    assert run(source, out).resumed == 3


def test_only_the_item_that_fails_becomes_a_failure(source, out):
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
def test_an_error_that_would_meet_every_item_ends_the_job(source, out, error):
    def work(items):
        raise error("no library")

    with pytest.raises(error, match="no library"):
        run(source, out, work)
    assert out.read_bytes() == b""


def test_a_work_that_answers_too_few_items_is_refused(source, out):
    with pytest.raises(JobError, match="expected 3 records from the job for 3 items, found 1"):
        run(source, out, lambda items: [{}])
    with pytest.raises(JobError, match="expected a JSON object from the job, found int"):
        run(source, out, lambda items: [1 for _ in items])


def test_stop_on_error_keeps_what_came_before_and_names_the_line(tmp_path, out):
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


def test_another_configuration_or_source_is_refused_until_forced(source, out):
    run(source, out)
    old = out.read_bytes()
    with pytest.raises(JobError, match=r"what differs: version \(was 1, is 2\)\. .*start anew with force"):
        run(source, out, config={"version": 2})
    with source.open("a") as file:
        file.write('{"n": 10}\n')
    with pytest.raises(JobError, match=r"what differs: the source \(was 10 lines"):
        run(source, out)
    assert out.read_bytes() == old
    report = run(source, out, force=True)
    assert report.lines == 11
    assert report.backup == out.with_name("out.jsonl.bak")
    assert report.backup.read_bytes() == old
    assert manifest_path(report.backup).exists()
    assert run(source, out, force=True).backup == out.with_name("out.jsonl.bak2")
    assert report.backup.read_bytes() == old


def test_force_on_a_free_name_needs_no_backup(source, out):
    assert run(source, out, force=True).backup is None


def test_without_resume_an_output_that_exists_is_refused(source, out):
    run(source, out)
    with pytest.raises(JobError, match=r"expected no output at .*, found one"):
        run(source, out, resume=False)


def test_a_file_that_no_job_wrote_is_never_touched(source, out):
    out.write_text("my notes\n")
    with pytest.raises(JobError, match=r"expected a manifest beside .*, found none: no job wrote this file"):
        run(source, out)
    assert out.read_text() == "my notes\n"
    assert not manifest_path(out).exists()
    backup = run(source, out, force=True).backup
    assert run(source, out, force=True).backup != backup
    assert backup.read_text() == "my notes\n"


def test_an_output_with_too_many_lines_is_refused(source, out):
    run(source, out)
    with out.open("a") as file:
        file.write("{}\n")
    with pytest.raises(JobError, match=r"expected at most 10 lines in .*, found 11"):
        run(source, out)


def test_an_output_that_is_the_source_is_refused(source, tmp_path):
    link = tmp_path / "link.jsonl"
    link.hardlink_to(source)
    for out in (source, link):
        with pytest.raises(JobError, match="expected an output other than the source"):
            run(source, out, force=True)
    assert source.read_text().count("\n") == 10


def test_an_output_that_cannot_be_is_refused(source, tmp_path):
    with pytest.raises(JobError, match="which is neither: name a file"):
        run(source, tmp_path)
    with pytest.raises(JobError, match=r"expected to write .*in\.jsonl/out"):
        run(source, source / "out")
    with pytest.raises(JobError, match=r"expected to write .*: File name too long"):
        run(source, tmp_path / ("x" * 300))


def test_a_source_that_is_missing_makes_no_folder(tmp_path):
    with pytest.raises(RecordError, match="found none: check the path"):
        run(tmp_path / "none", tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_a_chunk_below_one_is_refused(source, out):
    with pytest.raises(InputError, match="expected chunk >= 1, found 0"):
        run(source, out, chunk=0)


def test_an_output_in_use_is_refused(source, out):
    def work(items):
        with pytest.raises(JobError, match="found another process writing it: wait for it"):
            run(source, out)
        return double(items)

    assert run(source, out, work).lines == 10
    with FileLock(out.with_name(".out.jsonl.lock")), pytest.raises(JobError, match="another process"):
        run(source, out)
    assert run(source, out).already_finished


def test_a_source_that_changes_during_the_run_is_noticed(source, out):
    def work(items):
        if items[0].line == 1:
            with source.open("a") as file:
                file.write('{"n": 11}\n')
        return double(items)

    with pytest.raises(JobError, match="found it changed during the run"):
        run(source, out, work)
    assert not json.loads(manifest_path(out).read_bytes())["finished"]
    assert len(lines_of(out)) == 10


def test_a_stream_is_the_same_job_as_the_file_with_its_bytes(source, out):
    content = source.read_bytes()
    assert run(iter([content[:7], content[7:]]), out).lines == 10
    assert run(source, out).already_finished


def test_a_full_disk_tears_a_line_and_a_rerun_completes_the_job(source, out, tmp_path):
    """The size limit of the process stands in for a full disk: the kernel writes a part, then fails."""
    expected = tmp_path / "expected"
    run(source, expected, work=wordy)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9800, hard))
    try:
        with pytest.raises(JobError, match=r"expected to write .*out\.jsonl, found: File too large; make room"):
            run(source, out, work=wordy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert out.stat().st_size == 9800
    assert not out.read_bytes().endswith(b"\n")
    assert run(source, out, work=wordy).resumed == 9
    assert out.read_bytes() == expected.read_bytes()


def wordy(items):
    return [{"line": item.line, "words": "x" * 1000} for item in items]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_is_no_output(source):
    with pytest.raises(JobError, match="expected a file or a free name"):
        run(source, Path("/dev/full"))


SLOW_JOB = """
import sys, time
from pathlib import Path
from heed.jobs import run_job

def work(items):
    time.sleep(0.01)
    return [{"line": item.line, "twice": 2 * item.record["n"]} for item in items]

run_job(Path(sys.argv[1]), Path(sys.argv[2]), work, config={"version": 1}, on_bad_line=dict, chunk=3)
"""


def test_kill_9_loses_at_most_a_chunk_and_the_result_is_the_same(tmp_path):
    source, out, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    source.write_text("".join(f'{{"n": {n}}}\n' for n in range(100)))
    run(source, whole)
    kept = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", SLOW_JOB, str(source), str(out)])
        deadline = time.monotonic() + 30
        while (out.read_bytes().count(b"\n") if out.exists() else 0) < kept + 9:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
        kept = out.read_bytes().count(b"\n")
        assert 9 <= kept < 100
        assert whole.read_bytes().startswith(out.read_bytes())
    report = run(source, out)
    assert report.resumed == kept
    assert out.read_bytes() == whole.read_bytes()
    assert manifest_path(out).read_bytes() == manifest_path(whole).read_bytes()


LINE = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b'{"n": 3}', b'{"n": "bad"}', b"", b"\r", b"{", b"[1]", b'{"n": "\\ud800"}', b"\xef\xbb\xbf{}"]),
)


@settings(max_examples=60, deadline=None)
@given(content=st.lists(LINE, max_size=12).map(b"\n".join), chunk=st.integers(1, 5), cut=st.integers(0, 2000))
def test_any_bytes_are_answered_line_for_line_and_resumed(tmp_path_factory, content, chunk, cut):
    folder = tmp_path_factory.mktemp("any")
    source, out = folder / "in", folder / "out"
    source.write_bytes(content)
    run(source, out, chunk=chunk)
    first = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert [record["line"] for record in lines_of(out)] == [n for n, line in enumerate(first, 1) if line.strip()]
    whole = out.read_bytes()
    out.write_bytes(whole[:cut])
    run(source, out, chunk=chunk)
    assert out.read_bytes() == whole


def test_the_engine_brings_in_neither_torch_nor_numpy():
    code = "import sys, heed.jobs; sys.exit(bool({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
