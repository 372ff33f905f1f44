"""Verdicts kept by content, so that a text judged before is not read again. Off unless a guard is asked for it.

Only decided verdicts are kept: an abstention may have been a matter of the moment. It does not know how they are made.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import Lock
from time import perf_counter

from heed.errors import InputError
from heed.guard.verdict import Verdict

Asked = tuple[str | None, str]
"""Instruction and data, as the caller gave them."""


class ResultCache:
    """At most ``size`` verdicts; the one used longest ago makes room. 0 keeps none. Safe between threads.

    Verdicts hold the texts they are about, in memory only: the cache ends with its guard.

    Raises
    ------
    InputError
        If the size is no whole number from 0.
    """

    def __init__(self, size: int) -> None:
        if type(size) is not int or size < 0:
            raise InputError(f"expected a whole number of verdicts to keep, 0 for none, found {size!r}")
        self.size = size
        self._kept: OrderedDict[str, Verdict] = OrderedDict()
        self._context: object = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def answer(
        self, asked: Sequence[Asked], judge: Callable[[list[Asked]], list[Verdict]], *, context: object
    ) -> list[tuple[Verdict, bool]]:
        """A verdict for each pair, in order, and whether it was known; ``judge`` is given the others, each once.

        ``context`` is all that a verdict depends on beside the pair: when it changes, everything is forgotten. A known
        verdict's ``seconds`` are those of looking it up.
        """
        if not self.size:
            return [(verdict, False) for verdict in judge(list(asked))]
        started = perf_counter()
        keys = [_key(pair) for pair in asked]
        known = self._find(keys, context)
        missing = {key: pair for key, pair in zip(keys, asked, strict=True) if key not in known}
        seconds = (perf_counter() - started) / max(1, len(keys))
        fresh = dict(zip(missing, judge(list(missing.values())), strict=True)) if missing else {}
        self._keep(fresh, context)
        again = {key: replace(verdict, seconds=seconds) for key, verdict in (known | fresh).items()}
        return [(fresh.pop(key), False) if key in fresh else (again[key], True) for key in keys]

    def _find(self, keys: Iterable[str], context: object) -> dict[str, Verdict]:
        with self._lock:
            if context != self._context:
                self._kept.clear()
                self._context = context
            known = [key for key in keys if key in self._kept]
            for key in known:
                self._kept.move_to_end(key)
            return {key: self._kept[key] for key in known}

    def _keep(self, fresh: dict[str, Verdict], context: object) -> None:
        with self._lock:
            if context != self._context:  # another thread's: the guard was calibrated anew meanwhile
                return
            self._kept.update((key, verdict) for key, verdict in fresh.items() if verdict.flagged is not None)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)


def _key(pair: Asked) -> str:
    """Sha256 of what was asked."""
    return hashlib.sha256(json.dumps(pair, default=repr).encode()).hexdigest()
