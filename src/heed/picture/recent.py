"""What was used last, within a bound: a dictionary for several threads that lets the longest unused go first."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values of together at most ``bound``, each of the size that ``size`` says (bytes, or 1 to count them).

    A value larger than the bound is not kept.
    """

    def __init__(self, bound: int, size: Callable[[Value], int]) -> None:
        self._bound, self._size, self._used = bound, size, 0
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    @property
    def used(self) -> int:
        """Size of all that is kept."""
        return self._used

    def get(self, key: Key) -> Value | None:
        """The value, which is then the last used; None where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Keep a value, in place of one of the same key."""
        with self._lock:
            if key in self._values:
                self._used -= self._size(self._values.pop(key))
            self._values[key] = value
            self._used += self._size(value)
            while self._used > self._bound:
                self._used -= self._size(self._values.popitem(last=False)[1])
