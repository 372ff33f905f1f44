"""Results of attention remembered by content: the same queries, keys, values and arguments give the same output.

Not a KV cache (`KeyValue`). Pays only where whole inputs come again, unchanged to the last bit; hashing costs a pass
over q, k and v, which `benchmarks/mechanisms/result_cache.py` holds against what a hit saves.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from heed.attention.distance.functional import Aux, distance_attention
from heed.attention.metric import Metric
from heed.attention.modules.config import positive_int
from heed.errors import InputError

Result = Tensor | tuple[Tensor, Aux]
Key = tuple[bytes, str | Metric]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """``skipped`` calls were computed without asking the cache; ``bytes`` is what the results kept take."""

    hits: int
    misses: int
    skipped: int
    evictions: int
    entries: int
    bytes: int

    @property
    def hit_rate(self) -> float:
        """Hits among the calls that asked; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class ResultCache:
    """The least recently used results are dropped once ``max_bytes`` are exceeded; safe to share among threads.

    `attend` takes the arguments of `distance_attention` and returns what it returns. The key is a SHA-256 of the
    content, dtype, shape and device of every tensor (λ, p and masks included, so a changed parameter is another
    key) and of all other arguments. Calls with dropout, with gradients enabled or while torch compiles are computed
    and neither looked up nor kept. Results are copied in and out: what a caller does to them changes no entry.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        positive_int("max_bytes", max_bytes)
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Key, Result] = OrderedDict()
        self._lock = Lock()
        self._bytes = self._hits = self._misses = self._skipped = self._evictions = 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor, **arguments: Any) -> Result:
        """The remembered result, or a new one; raises what `distance_attention` raises."""
        if torch.is_grad_enabled() or arguments.get("dropout_p") or torch.compiler.is_compiling():
            with self._lock:
                self._skipped += 1
            return distance_attention(q, k, v, **arguments)
        key = _key({"q": q, "k": k, "v": v, **arguments})
        with self._lock:
            kept = self._entries.get(key)
            if kept is not None:
                self._entries.move_to_end(key)
                self._hits += 1
        if kept is not None:
            return _copy(kept)
        result = distance_attention(q, k, v, **arguments)
        self._keep(key, _copy(result))
        return result

    def stats(self) -> CacheStats:
        """Counts since the cache was made or cleared."""
        with self._lock:
            return CacheStats(self._hits, self._misses, self._skipped, self._evictions, len(self._entries), self._bytes)

    def clear(self) -> None:
        """Forget all results and counts."""
        with self._lock:
            self._entries.clear()
            self._bytes = self._hits = self._misses = self._skipped = self._evictions = 0

    def __reduce__(self) -> tuple[type["ResultCache"], tuple[int]]:
        """A copy, with the layer that holds it, starts empty: locks and results do not travel."""
        return ResultCache, (self.max_bytes,)

    def _keep(self, key: Key, result: Result) -> None:
        size = _size(result)
        with self._lock:
            self._misses += 1
            if size > self.max_bytes or key in self._entries:
                return
            self._entries[key] = result
            self._bytes += size
            while self._bytes > self.max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= _size(dropped)
                self._evictions += 1


def _key(arguments: dict[str, Any]) -> Key:
    metric = arguments.pop("metric", "l1")
    digest = hashlib.sha256()
    for name in sorted(arguments):
        value = arguments[name]
        digest.update(f"\0{name}\0{_described(name, value)}\0".encode())
        if isinstance(value, Tensor):
            flat = value.detach().contiguous().flatten().cpu()
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.digest(), metric


def _described(name: str, value: object) -> str:
    """What tells two arguments apart besides the content of tensors."""
    if isinstance(value, Tensor):
        return f"tensor {value.dtype} {tuple(value.shape)} {value.device}"
    if value is None or isinstance(value, str | bool | int | float):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        return repr(sorted(value))
    raise InputError(f"a result cache cannot tell values of {type(value).__name__} apart (argument {name!r})")


def _tensors(result: Result) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [result[0], *(x for x in result[1] if x is not None)]


def _copy(result: Result) -> Result:
    if isinstance(result, Tensor):
        return result.clone()
    return result[0].clone(), Aux(*(None if x is None else x.clone() for x in result[1]))


def _size(result: Result) -> int:
    return sum(x.numel() * x.element_size() for x in _tensors(result))
