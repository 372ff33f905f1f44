"""Analyses kept on disk: the same model, tokens and settings are not read twice.

Comes in: a model and a prompt. Goes out: the trace and its statistics, taken now or found again, which the trace says.
What is kept is bounded in size (``HEED_ANALYSES_MB``), the longest unused goes first, and many processes may share it.
It holds the texts of what was shown; `heed cache clear` empties it.
"""

import hashlib
import io
import json
import logging
import os
import pickle
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import diskcache
import numpy as np

from heed.errors import InputError, StoreError
from heed.model import Model
from heed.probe.prompt import encode_prompt, label, roles_of
from heed.probe.run import check_length
from heed.probe.scene import describe, labels_of, spans_of
from heed.probe.statistics import HeadStatistics, head_statistics
from heed.probe.store import VERSION
from heed.probe.trace import Trace, trace
from heed.probe.view import LayerKey, usual
from heed.settings import settings
from heed.text.attention import AttentionScene
from heed.text.encode import Encoded

_LOG = logging.getLogger(__name__)
_SETTINGS = (VERSION, 1)
"""Of the trace's file and of the statistics: a change makes what was kept before unfindable."""


@dataclass(frozen=True, slots=True)
class AnalysesInfo:
    """What is kept."""

    path: Path
    entries: int
    mb: float
    """Size in MB (10^6 bytes)."""
    limit_mb: float


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """A trace and the statistics of its usual layers."""

    trace: Trace
    statistics: HeadStatistics

    def scene(self, **options: Any) -> AttentionScene:
        """The analysis as a picture; see `heed.probe.scene.describe`."""
        other = any(options.get(name) is not None for name in ("stack", "kind"))
        return describe(self.trace, statistics=None if other else self.statistics, **options)


def analyse(model: Model, prompt: Any, *, new_tokens: int = 0, cached: bool = True) -> Analysis:
    """The attention of a prompt, from disk where it was analysed before; ``trace.cached`` says so.

    Parameters
    ----------
    prompt
        As of `heed.trace`.
    new_tokens
        Generate up to this many tokens.
    cached
        False: read it anew, and keep nothing.

    Raises
    ------
    HeedError
        As `heed.trace`.
    StoreError
        If the folder of the analyses cannot be used.
    """
    if not cached:
        found = trace(model, prompt, new_tokens=new_tokens)
        return Analysis(found, _measured(found))
    roles, encoded = roles_of(prompt), encode_prompt(model, prompt)
    check_length(model, [encoded], new_tokens)
    key = _key(model, encoded, roles, new_tokens)
    with _opened() as kept:
        known = _find_trace(kept, key)
        if known is None:
            known = trace(model, prompt, new_tokens=new_tokens)
            _keep_trace(kept, key, known)
        return Analysis(known, _statistics(kept, key, known))


def analyses_info() -> AnalysesInfo:
    """How much is kept, and where."""
    folder, limit = _folder(), settings().analyses_mb
    if not (folder / "cache.db").exists():
        return AnalysesInfo(folder, 0, 0.0, limit)
    with _opened() as kept:
        return AnalysesInfo(folder, len(kept), kept.volume() / 1e6, limit)


def clear_analyses() -> AnalysesInfo:
    """Delete all that is kept; return what was deleted.

    Raises
    ------
    StoreError
        If it cannot be deleted.
    """
    found = analyses_info()
    if found.entries:
        with _opened() as kept:
            kept.clear()
    return found


class _PlainDisk(diskcache.Disk):  # type: ignore[misc] # it has no types
    """Bytes and files only: a file that somebody put there is never unpickled."""

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode == diskcache.core.MODE_PICKLE:
            raise pickle.UnpicklingError("expected bytes among the analyses, found a pickle: heed did not write it")
        return super().fetch(mode, filename, value, read)


def _folder() -> Path:
    return settings().cache_dir / "analyses"


@contextmanager
def _opened() -> Iterator[Any]:
    """The store, readable by its owner alone."""
    folder = _folder()
    limit = settings().analyses_mb
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with diskcache.Cache(
            folder, disk=_PlainDisk, size_limit=int(limit * 1e6), eviction_policy="least-recently-used"
        ) as kept:
            yield kept
    except (OSError, sqlite3.Error, diskcache.Timeout, pickle.UnpicklingError) as error:
        raise StoreError(
            f"expected a folder for analyses at {folder}, found: {error}; delete it, set HEED_CACHE_DIR, or go without "
            "(--no-cache)"
        ) from error


def _key(model: Model, prompt: Encoded, roles: Sequence[str], new_tokens: int) -> str:
    """Hash of all that a trace depends on, the names of its tokens included."""
    told = [_SETTINGS, model.fingerprint, model.name, str(model.dtype), model.device.type, new_tokens]
    labels = label(model, prompt, roles=roles).record()
    return hashlib.sha256(json.dumps([told, labels]).encode() + prompt.ids.astype("<i8").tobytes()).hexdigest()


def _find_trace(kept: Any, key: str) -> Trace | None:
    started = perf_counter()
    file = kept.get(f"trace {key}", read=True, retry=True)
    if file is None:
        return None
    with file:
        try:
            found = Trace.load(file.name)
        except InputError as error:  # evicted meanwhile, or damaged: it is read again
            _LOG.warning("an analysis that was kept cannot be read: %s", error)
            kept.delete(f"trace {key}", retry=True)
            return None
    return replace(found, cached=True, seconds=perf_counter() - started)


def _keep_trace(kept: Any, key: str, found: Trace) -> None:
    """Write a trace, unless it would fill more than half of the place."""
    if found.nbytes > kept.size_limit / 2:
        _LOG.info("a trace of %.0f MB is not kept: more than half of HEED_ANALYSES_MB", found.nbytes / 1e6)
        return
    handle, partial = tempfile.mkstemp(dir=_folder(), suffix=".partial")
    os.close(handle)
    try:
        found.save(partial)
        with Path(partial).open("rb") as file:
            kept.set(f"trace {key}", file, read=True, retry=True)
    finally:
        Path(partial).unlink(missing_ok=True)


def _statistics(kept: Any, key: str, found: Trace) -> HeadStatistics:
    place = f"statistics {key}"
    held = kept.get(place, retry=True)
    if held is not None:
        return _unpacked(held, usual(found.layers))
    measured = _measured(found)
    kept.set(place, _packed(measured), retry=True)
    return measured


def _measured(found: Trace) -> HeadStatistics:
    layers = usual(found.layers)
    return head_statistics(found, layers=layers, spans=spans_of(labels_of(found, layers[-1])[1]))


def _packed(found: HeadStatistics) -> bytes:
    arrays = {f"value {name}": values for name, values in found.values.items()}
    arrays |= {"last": found.last, "mass": found.mass}
    if found.rollout is not None:
        arrays["rollout"] = found.rollout
    file = io.BytesIO()
    np.savez(file, spans=np.array(found.spans, dtype=np.str_), rows=[found.rows_read, found.rows], **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _unpacked(held: bytes, layers: tuple[LayerKey, ...]) -> HeadStatistics:
    with np.load(io.BytesIO(held), allow_pickle=False) as file:
        names = [name for name in file.files if name.startswith("value ")]
        rows_read, rows = file["rows"].tolist()
        return HeadStatistics(
            layers=layers,
            values={name.removeprefix("value "): file[name] for name in names},
            spans=tuple(str(name) for name in file["spans"]),
            last=file["last"],
            mass=file["mass"],
            rollout=file["rollout"] if "rollout" in file.files else None,
            rows_read=rows_read,
            rows=rows,
        )
