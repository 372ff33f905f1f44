"""The place of an output: that it is free, locked, and that nothing in it is lost.

A path comes in; a lock, a backup or the manifest of an earlier run goes out. It does not know what lines hold.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from heed.errors import JobError
from heed.jobs.manifest import Manifest, check_same_job, manifest_path, read_manifest
from heed.jobs.output import storing, sync_folder


@contextmanager
def prepare_place(out: Path, source: Path | None) -> Iterator[None]:
    """Make the folder of an output and hold the output's lock.

    Raises
    ------
    JobError
        If the output is no file, is the source itself, is in use by another process, or its folder cannot be written.
    """
    with storing(out):
        _check_paths(out, source)
        out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        yield


def _check_paths(out: Path, source: Path | None) -> None:
    if out.exists() and not out.is_file():
        raise JobError(f"expected a file or a free name for the output, found {out}, which is neither: name a file")
    for path in (out, manifest_path(out)):
        if source is not None and path.exists() and path.samefile(source):
            raise JobError(f"expected an output other than the source, found {path} for both: choose another output")


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    with storing(out):
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise JobError(
                f"expected {out} to be free, found another process writing it: wait for it or choose another output"
            ) from error
    try:
        yield
    finally:
        lock.release()


def back_up(out: Path) -> Path | None:
    """Rename an output and its manifest to a free name (``OUT.bak``, ``OUT.bak2`` …); None where there is neither.

    Raises
    ------
    JobError
        If they cannot be renamed.
    """
    if not out.exists() and not manifest_path(out).exists():
        return None
    number, backup = 1, out.with_name(out.name + ".bak")
    while backup.exists() or manifest_path(backup).exists():
        number += 1
        backup = out.with_name(f"{out.name}.bak{number}")
    with storing(out):
        for old, new in ((out, backup), (manifest_path(out), manifest_path(backup))):
            if old.exists():
                old.replace(new)
        sync_folder(out.parent)
    return backup


def earlier_manifest(out: Path, asked: Manifest, *, resume: bool) -> Manifest | None:
    """The manifest of an earlier run of the same job, or None where nothing was begun.

    Raises
    ------
    JobError
        If the output belongs to another job or to none, or must not be resumed.
    """
    found = read_manifest(out)
    occupied = out.exists() and out.stat().st_size > 0
    if found is None and not occupied:
        return None
    if found is None:
        raise JobError(
            f"expected a manifest beside {out}, found none: no job wrote this file; choose another output, or start "
            "anew with force (the file is kept as a backup)"
        )
    if not resume:
        raise JobError(
            f"expected no output at {out}, found one: allow resuming, choose another output, or start anew with force"
        )
    check_same_job(out, found=found, asked=asked)
    return found
