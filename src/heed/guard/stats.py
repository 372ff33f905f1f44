"""What a guard has done so far: checks counted and timed as they end, those without an answer logged.

Verdicts come in, a `Stats` goes out. No text of a verdict is kept or logged.
"""

import logging
import sys
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from heed.guard.verdict import Verdict

RECENT = 4096
"""Percentiles are those of the last checks, this many."""

_BROKEN = ("not_finite", "out_of_memory")
"""Abstentions that are no matter of the text: logged as errors."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a guard has done since it was made.

    ``tokens`` and the times are of checks that were read; those answered from the result cache are counted in
    ``cache_hits``. ``seconds`` are the verdicts' own (a share of the batch's time); the percentiles are over the last
    `RECENT` checks, None before the first. ``peak_memory_mb`` (10^6 bytes) is the most the whole process ever held in
    main memory; None where the system does not say (Windows).
    """

    checks: int
    flagged: int
    abstained: Mapping[str, int]
    """How many of the checks were abstained from, by status."""
    cache_hits: int
    tokens: int
    seconds: float
    seconds_p50: float | None
    seconds_p95: float | None
    seconds_p99: float | None
    peak_memory_mb: float | None

    def record(self) -> dict[str, Any]:
        """The fields, JSON-ready."""
        return asdict(self)


@dataclass(slots=True, eq=False)
class Monitor:
    """Counts what a guard does, from any thread."""

    _checks: int = 0
    _flagged: int = 0
    _hits: int = 0
    _tokens: int = 0
    _seconds: float = 0.0
    _abstained: Counter[str] = field(default_factory=Counter)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _lock: Lock = field(default_factory=Lock)

    def note(self, answers: Iterable[tuple[Verdict, bool]]) -> list[Verdict]:
        """Count verdicts that come with whether they were known before; return them."""
        verdicts = []
        for verdict, known in answers:
            with self._lock:
                self._count(verdict, known=known)
            if verdict.flagged is None:
                _log(verdict)
            verdicts.append(verdict)
        return verdicts

    def stats(self) -> Stats:
        """The counts as they are now."""
        with self._lock:
            times = np.percentile(self._recent, [50, 95, 99]).tolist() if self._recent else [None] * 3
            return Stats(
                checks=self._checks,
                flagged=self._flagged,
                abstained=dict(self._abstained),
                cache_hits=self._hits,
                tokens=self._tokens,
                seconds=self._seconds,
                seconds_p50=times[0],
                seconds_p95=times[1],
                seconds_p99=times[2],
                peak_memory_mb=peak_memory_mb(),
            )

    def _count(self, verdict: Verdict, *, known: bool) -> None:
        self._checks += 1
        self._flagged += verdict.flagged is True
        if verdict.flagged is None:
            self._abstained[verdict.status] += 1
        if known:
            self._hits += 1
            return
        self._tokens += verdict.tokens
        self._seconds += verdict.seconds
        self._recent.append(verdict.seconds)


def peak_memory_mb() -> float | None:
    """Most main memory this process ever held, in MB (10^6 bytes); None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _log(verdict: Verdict) -> None:
    level = logging.ERROR if verdict.status in _BROKEN else logging.WARNING
    fields = {"status": verdict.status, "model": verdict.model, "seconds": round(verdict.seconds, 6)}
    _LOG.log(level, "the guard abstained", extra=fields)
