"""Checks from asynchronous code: the passes run in a thread that belongs to the model, one call at a time.

The event loop stays free, and a hundred waiting calls hold one thread. The thread ends when its model is let go.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from heed.guard.verdict import Verdict
from heed.model import Model

if TYPE_CHECKING:
    from heed.guard.guard import Guard

_THREADS: "WeakKeyDictionary[Any, ThreadPoolExecutor]" = WeakKeyDictionary()
_LOCK = Lock()


class _CancelledError(Exception):
    """Ends work nobody waits for; it never leaves the thread."""


async def check_in_thread(
    guard: "Guard", pairs: Iterable[tuple[str | None, str]], progress: Callable[[int, int], None] | None = None
) -> list[Verdict]:
    """`Guard.check_many` in the model's thread; ``progress`` is called in the event loop.

    Cancelled while it waits, it is never begun; cancelled while it runs, it ends after the pass that is under way. The
    model and other calls are not touched by it.
    """
    loop, cancelled, asked = asyncio.get_running_loop(), Event(), list(pairs)

    def tell(done: int, total: int) -> None:
        if cancelled.is_set():
            raise _CancelledError
        if progress is not None:
            loop.call_soon_threadsafe(progress, done, total)

    try:
        return await loop.run_in_executor(_thread_of(guard.model), lambda: guard.check_many(asked, progress=tell))
    except asyncio.CancelledError:
        cancelled.set()
        raise


def _thread_of(model: Model) -> ThreadPoolExecutor:
    with _LOCK:
        if model.hf not in _THREADS:
            _THREADS[model.hf] = ThreadPoolExecutor(1, thread_name_prefix=f"heed-{model.name}")
        return _THREADS[model.hf]
