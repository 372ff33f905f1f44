"""What a guard says it has done: counts, times, memory, and log records without text."""

import json
import logging
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from heed.guard import Guard, Verdict
from heed.guard.stats import RECENT, Monitor, peak_memory_mb
from heed.model import load
from tiny import CONTEXT, tiny_folder, tiny_profile


def verdict(status="ok", *, flagged=False, seconds=0.0, tokens=0) -> Verdict:
    return Verdict(status, "why", flagged=flagged if status == "ok" else None, seconds=seconds, tokens=tokens)


@pytest.fixture(scope="module")
def guard(tmp_path_factory) -> Guard:
    folder = tmp_path_factory.mktemp("m")
    return Guard(load(tiny_folder(folder / "tiny")), profile=tiny_profile(folder / "p.json"), threshold=0.0)


def test_a_new_guard_has_done_nothing():
    stats = Monitor().stats()
    assert (stats.checks, stats.seconds, stats.abstained, stats.seconds_p50) == (0, 0.0, {}, None)


def test_everything_is_counted_and_hits_cost_nothing():
    monitor = Monitor()
    noted = monitor.note(
        [
            (verdict(flagged=True, seconds=1.0, tokens=10), False),
            (verdict(seconds=3.0, tokens=20), False),
            (verdict(flagged=True, seconds=7.0, tokens=10), True),
            (verdict("empty_data"), False),
            (verdict("too_long"), False),
            (verdict("too_long"), False),
        ]
    )
    stats = monitor.stats()
    assert len(noted) == stats.checks == 6
    assert (stats.flagged, stats.cache_hits, stats.tokens, stats.seconds) == (2, 1, 30, 4.0)
    assert stats.abstained == {"empty_data": 1, "too_long": 2}


def test_percentiles_are_those_of_the_last_checks():
    monitor = Monitor()
    times = np.arange(RECENT + 100, dtype=float)
    monitor.note((verdict(seconds=time), False) for time in times)
    stats, last = monitor.stats(), times[100:]
    assert (stats.seconds_p50, stats.seconds_p95, stats.seconds_p99) == tuple(np.percentile(last, [50, 95, 99]))
    assert stats.seconds == times.sum()


def test_no_check_is_lost_between_threads():
    monitor = Monitor()
    threads = [Thread(target=lambda: monitor.note([(verdict(tokens=1), False)] * 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (monitor.stats().checks, monitor.stats().tokens) == (4000, 4000)


def test_a_guard_counts_its_checks_and_the_record_is_json(guard):
    verdicts = guard.check_many([("Greet.", "Hello."), ("Greet.", ""), (None, "Hi.")])
    stats = guard.stats()
    assert (stats.checks, stats.flagged, stats.abstained) == (3, 2, {"empty_data": 1})
    assert stats.tokens == sum(verdict.tokens for verdict in verdicts) > 0
    assert stats.seconds == pytest.approx(sum(verdict.seconds for verdict in verdicts))
    assert json.loads(json.dumps(stats.record(), allow_nan=False)) == stats.record()
    with pytest.raises(FrozenInstanceError):
        stats.checks = 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to compare with")
def test_peak_memory_is_that_of_the_process():
    """The kernel counts resident pages in batches of some hundred KiB a thread: 8 MB is more than it may be off by."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak_kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    assert peak_memory_mb() == pytest.approx(peak_kib * 1024 / 1e6, abs=8)


def test_abstentions_are_logged_without_the_text(guard, caplog):
    with caplog.at_level(logging.WARNING, logger="heed"):
        guard.check("secret", "secret \udcff")
        guard.check("secret", "hush " * CONTEXT)
    assert [record.status for record in caplog.records] == ["invalid_text", "too_long"]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert not any("secret" in str(vars(record)) or "hush" in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("status", ["out_of_memory", "not_finite"])
def test_what_is_no_fault_of_the_text_is_an_error(caplog, status):
    Monitor().note([(verdict(status), False)])
    assert [(record.status, record.levelno) for record in caplog.records] == [(status, logging.ERROR)]
