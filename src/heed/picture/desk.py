"""The desk at which a page's questions are answered: two threads for what is quick, one for what takes long.

Comes in: a scene, questions with their parameters. Goes out: a `Job` for each, which can be called off: before it is
begun, or between two blocks. Memory is bounded by the pyramid's cache and by how many questions may wait. The long
work steps aside whenever a quick question is there.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock, main_thread
from time import sleep
from typing import Any

from heed.picture.asks import Ask, Reply, understand
from heed.picture.maps import StoppedError
from heed.picture.pyramid import CACHE_BYTES, Pyramid
from heed.text.attention import AttentionScene

_QUICK_THREADS = 2
_MOST_WAITING = 512
_STEP_ASIDE_S = 0.005


class BusyError(Exception):
    """Too many questions wait already: ask again in a second."""


class Job:
    """A question that is being answered; ``future`` holds the `Reply`, or the error."""

    def __init__(self) -> None:
        self.future: Future[Reply] = Future()
        self.progress = 0.0
        """Share in [0, 1] that is done."""
        self._off = Event()

    @property
    def off(self) -> bool:
        """Whether it was called off, or the process ends."""
        return self._off.is_set() or not main_thread().is_alive()

    def call_off(self) -> None:
        """Nobody waits for the answer any more; its future ends with `StoppedError`."""
        self._off.set()

    def run(self, ask: Ask, *, quick: "Desk | None" = None) -> None:
        """Answer; step aside while ``quick`` has something to do."""

        def stop() -> bool:
            while quick is not None and quick.pressed and not self.off:
                sleep(_STEP_ASIDE_S)
            return self.off

        def told(share: float) -> None:
            self.progress = share

        try:
            if stop():
                raise StoppedError
            self.future.set_result(ask.run(stop, told))
        except BaseException as error:
            self.future.set_exception(error)


class Desk:
    """Answers questions about one scene from any thread.

    Parameters
    ----------
    scene
        What is shown.
    cache_bytes
        Most bytes of coarse tiles that are kept.
    """

    def __init__(self, scene: AttentionScene, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._scene, self._pyramid = scene, Pyramid(scene, cache_bytes=cache_bytes)
        self._quick = ThreadPoolExecutor(_QUICK_THREADS, thread_name_prefix="heed-tiles")
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="heed-overview")
        self._lock, self._jobs, self._closed = Lock(), {False: set[Job](), True: set[Job]()}, False

    @property
    def pressed(self) -> bool:
        """Whether a quick question is waiting or being answered."""
        return bool(self._jobs[False])

    def ask(self, what: str, parameters: Mapping[str, Any]) -> Job:
        """Take a question.

        Raises
        ------
        InputError
            If it is none, or there is no such layer, head, tile or stretch.
        BusyError
            If too many wait already.
        """
        ask, job = understand(what, parameters, self._scene, self._pyramid), Job()
        jobs = self._jobs[ask.slow]
        with self._lock:
            if self._closed or len(jobs) >= _MOST_WAITING:
                raise BusyError("the server ends" if self._closed else "too many questions wait: ask again in a second")
            jobs.add(job)
            threads = self._slow if ask.slow else self._quick
            threads.submit(job.run, ask, quick=self if ask.slow else None)
        job.future.add_done_callback(lambda _: self._done(job, jobs))
        return job

    def status(self) -> tuple[bool, float]:
        """Whether long work is under way, and the share of it in [0, 1] that is done."""
        with self._lock:
            jobs = list(self._jobs[True])
        return bool(jobs), sum(job.progress for job in jobs) / len(jobs) if jobs else 1.0

    def close(self) -> None:
        """Call everything off and let the threads go."""
        with self._lock:
            self._closed = True
            jobs = [*self._jobs[False], *self._jobs[True]]
        for job in jobs:
            job.call_off()
        self._quick.shutdown(wait=False)
        self._slow.shutdown(wait=False)

    def _done(self, job: Job, jobs: set[Job]) -> None:
        with self._lock:
            jobs.discard(job)
