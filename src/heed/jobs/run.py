r"""Running a job: a source of JSON lines and a work function come in, an output that can be resumed goes out.

The i-th line of the output answers the i-th counted line of the source (``jobs/lines.py`` says which are counted).
The source is read in chunks; the answers of a chunk are on disk before the next chunk begins. So a crash or ``kill -9``
loses at most the chunk in flight, and running the same job again continues after the last whole line.

Three files lie beside each other: ``OUT``, ``OUT.manifest.json`` and an empty ``.OUT.lock``, which stays.
The engine does not know what a job does, and opens no file that the work might need.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from heed.errors import InputError, JobError, OutOfMemoryError
from heed.jobs.lines import BadLine, Item, Record, identify, open_source, read_lines
from heed.jobs.manifest import Manifest, plain_config, write_manifest
from heed.jobs.output import Output, open_output
from heed.jobs.place import back_up, earlier_manifest, prepare_place

Work = Callable[[list[Item]], Iterable[Record]]
"""Answers a chunk of items: one JSON object for each, in their order."""

ITEM_ERRORS = (InputError, OutOfMemoryError)
"""The errors that can be about one item. Any other (no model, no library) would meet every item, and ends the job."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, in counted lines.

    ``done`` of ``total`` are on disk; ``failed`` of those that this run did were bad lines.
    """

    done: int
    total: int
    failed: int


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a run of a job did, in counted lines.

    ``lines`` are in the output, ``resumed`` of them from earlier runs; ``failed`` of those that this run did were bad
    lines. ``backup`` is where ``force`` put an earlier output, or None.
    """

    out: Path
    lines: int
    resumed: int
    failed: int
    already_finished: bool
    backup: Path | None = None


@dataclass(frozen=True, slots=True)
class _Answers:
    records: list[Record]
    failed: int = 0
    stop: BadLine | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work
    on_bad_line: Callable[[BadLine], Record]
    chunk: int
    stop_on_error: bool
    progress: Callable[[Progress], None] | None

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise InputError(
                f"expected chunk >= 1, found {self.chunk}: choose how many lines are answered between two writes"
            )


def run_job(
    source: Path | Iterable[bytes],
    out: Path,
    work: Work,
    *,
    config: Mapping[str, Any],
    on_bad_line: Callable[[BadLine], Record],
    chunk: int = 64,
    resume: bool = True,
    force: bool = False,
    stop_on_error: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> JobReport:
    """Answer every line of a source, in order, into a file; continue where an earlier run of the same job stopped.

    Parameters
    ----------
    source
        A file of JSON lines; or byte blocks such as ``sys.stdin.buffer``, which are read to their end first.
    out
        The output. Its folder is created where it is missing.
    work
        Called with the items of a chunk that could be read; returns one JSON object for each, in order. If it raises
        one of ``ITEM_ERRORS``, it is called again with each item alone; only those that fail become bad lines. Any
        other exception ends the job; what was written stays.
    config
        What the answers depend on, as JSON values. A rerun with another configuration is refused.
    on_bad_line
        Gives the record that answers a bad line.
    chunk
        Counted lines between two writes, at least 1.
    resume
        Whether to continue an output that exists; if not, an existing output is refused.
    force, stop_on_error
        Start anew (an output that exists is first renamed to ``OUT.bak``, ``OUT.bak2`` …); raise at the first bad line.
    progress
        Called at the start and after each chunk.

    Raises
    ------
    RecordError
        If the source cannot be read.
    InputError
        If ``chunk`` is below 1.
    JobError
        If the output belongs to another job, is in use, equals the source or cannot be written, the source changes
        during the run, or the work breaks its promise; at a bad line with ``stop_on_error``.
    """
    job = _Job(work, on_bad_line, chunk, stop_on_error, progress)
    with ExitStack() as stack:
        file = stack.enter_context(open_source(source))
        asked = Manifest(plain_config(config), identify(file))
        stack.enter_context(prepare_place(out, source if isinstance(source, Path) else None))
        backup = back_up(out) if force else None
        found = earlier_manifest(out, asked, resume=resume)
        if found is None:
            write_manifest(out, asked)
        output = stack.enter_context(open_output(out))
        report = JobReport(out, asked.source.lines, output.lines, 0, found is not None and found.finished, backup)
        return _continue(job, file, output, asked, report)


def _continue(job: _Job, file: BinaryIO, output: Output, asked: Manifest, report: JobReport) -> JobReport:
    total, done = asked.source.lines, output.lines
    if done > total:
        raise JobError(
            f"expected at most {total} lines in {output.path}, found {done}: another program wrote to it; restore the "
            "file, or start anew with force (the old output is kept as a backup)"
        )
    if report.already_finished and done == total:
        _tell(job, Progress(done, total, 0))
        return report
    if report.already_finished:
        write_manifest(output.path, asked)
    failed = _answer_all(job, file, output, total)
    if identify(file) != asked.source:
        raise JobError(
            f"expected the source of {output.path} to stay as it was, found it changed during the run: answers may "
            "not belong to their lines; start anew with force"
        )
    write_manifest(output.path, replace(asked, finished=True))
    return replace(report, failed=failed, already_finished=False)


def _answer_all(job: _Job, file: BinaryIO, output: Output, total: int) -> int:
    done, failed = output.lines, 0
    _tell(job, Progress(done, total, failed))
    lines = read_lines(file, skip=done)
    while chunk := list(islice(lines, min(job.chunk, total - done))):
        answers = _answer(job, chunk)
        output.append(answers.records)
        if answers.stop is not None:
            raise JobError(
                f"stopped at line {answers.stop.line} of the source: {answers.stop.reason}. Correct the line and start "
                "anew with force, or run again without stopping at errors"
            ) from answers.stop.error
        done, failed = done + len(chunk), failed + answers.failed
        _tell(job, Progress(done, total, failed))
    return failed


def _answer(job: _Job, chunk: Sequence[Item | BadLine]) -> _Answers:
    """Answer a chunk; with ``stop_on_error`` only what comes before its first bad line."""
    good = [line for line in chunk if isinstance(line, Item)]
    try:
        answers: Iterator[Record | BadLine] = iter(_call(job.work, good))
    except ITEM_ERRORS as error:
        answers = iter([BadLine(good[0].line, error, good[0].record)]) if len(good) == 1 else _each(job.work, good)
    records: list[Record] = []
    failed = 0
    for line in chunk:
        answer = line if isinstance(line, BadLine) else next(answers)
        if not isinstance(answer, BadLine):
            records.append(answer)
        elif job.stop_on_error:
            return _Answers(records, failed, answer)
        else:
            records.append(job.on_bad_line(answer))
            failed += 1
    return _Answers(records, failed)


def _each(work: Work, items: Iterable[Item]) -> Iterator[Record | BadLine]:
    for item in items:
        try:
            yield _call(work, [item])[0]
        except ITEM_ERRORS as error:
            yield BadLine(item.line, error, item.record)


def _call(work: Work, items: list[Item]) -> list[Record]:
    records = list(work(items)) if items else []
    if len(records) != len(items):
        raise JobError(
            f"expected {len(items)} records from the job for {len(items)} items, found {len(records)}: fix the job"
        )
    return records


def _tell(job: _Job, progress: Progress) -> None:
    if job.progress is not None:
        job.progress(progress)
