import json
import resource
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import JobError
from heed.jobs.manifest import manifest_path


@pytest.mark.parametrize("keep", [0, 1, 4, 9, 10])
@pytest.mark.parametrize("torn", ["", '{"twice', "{}"])
def test_a_rerun_continues_after_the_last_whole_line(run, double, source, out, *, keep, torn):
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


def test_a_change_of_chunk_does_not_make_another_job(run, source, out):
    run(source, out, chunk=1)
    assert run(source, out, chunk=64).already_finished


def test_an_interrupt_keeps_what_was_written(run, lines_of, double, source, out):
    def work(items):
        if items[0].line > 3:
            raise KeyboardInterrupt
        return double(items)

    with pytest.raises(KeyboardInterrupt):
        run(source, out, work)
    assert len(lines_of(out)) == 3
    assert run(source, out).resumed == 3


def test_another_configuration_or_source_is_refused_until_forced(run, source, out):
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


def test_force_on_a_free_name_needs_no_backup(run, source, out):
    assert run(source, out, force=True).backup is None


def test_without_resume_an_output_that_exists_is_refused(run, source, out):
    run(source, out)
    with pytest.raises(JobError, match=r"expected no output at .*, found one"):
        run(source, out, resume=False)


def test_a_file_that_no_job_wrote_is_never_touched(run, source, out):
    out.write_text("my notes\n")
    with pytest.raises(JobError, match=r"expected a manifest beside .*, found none: no job wrote this file"):
        run(source, out)
    assert out.read_text() == "my notes\n"
    assert not manifest_path(out).exists()
    backup = run(source, out, force=True).backup
    assert run(source, out, force=True).backup != backup
    assert backup.read_text() == "my notes\n"


def test_an_output_with_too_many_lines_is_refused(run, source, out):
    run(source, out)
    with out.open("a") as file:
        file.write("{}\n")
    with pytest.raises(JobError, match=r"expected at most 10 lines in .*, found 11"):
        run(source, out)


def test_a_source_that_changes_during_the_run_is_noticed(run, lines_of, double, source, out):
    def work(items):
        if items[0].line == 1:
            with source.open("a") as file:
                file.write('{"n": 11}\n')
        return double(items)

    with pytest.raises(JobError, match="found it changed during the run"):
        run(source, out, work)
    assert not json.loads(manifest_path(out).read_bytes())["finished"]
    assert len(lines_of(out)) == 10


def test_a_stream_is_the_same_job_as_the_file_with_its_bytes(run, source, out):
    content = source.read_bytes()
    assert run(iter([content[:7], content[7:]]), out).lines == 10
    assert run(source, out).already_finished


def test_a_full_disk_tears_a_line_and_a_rerun_completes_the_job(run, source, out, tmp_path):
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


SLOW_JOB = """
import sys, time
from pathlib import Path
from heed.jobs import run_job

def work(items):
    time.sleep(0.01)
    return [{"line": item.line, "twice": 2 * item.record["n"]} for item in items]

run_job(Path(sys.argv[1]), Path(sys.argv[2]), work, config={"version": 1}, on_bad_line=dict, chunk=3)
"""


def test_kill_9_loses_at_most_a_chunk_and_the_result_is_the_same(run, tmp_path):
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
def test_any_bytes_are_answered_line_for_line_and_resumed(run, lines_of, tmp_path_factory, *, content, chunk, cut):
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
