"""The constant beginning of many prompts, kept as keys and values instead of being computed again.

A prefix is the longest run of equal tokens at the start of whole rendered prompts, never a text tokenised
alone: at the seam a tokenizer may merge what belongs to both sides. It is kept for models whose layers all see
the whole past; sliding and recurrent layers forget, so for them nothing is kept.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor

from heed.interface.cache import empty_cache
from heed.interface.call import Call
from heed.interface.distance import mechanism_of
from heed.interface.session import listening
from heed.model import Model
from heed.probe.forward import memory_errors
from heed.probe.layers import layers_of
from heed.probe.view import LayerKey

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel


WORTH = 4
"""A beginning is used if it is at least a quarter of the longest prompt: rows behind a cache need the masked kernel,
which costs more than a short beginning saves (a check of 2,048 tokens with 40 kept ones took 1.3 times as long)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    model: "ref[PreTrainedModel]"
    ids: np.ndarray
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values ``[1, K, T, D]`` of the first layers."""
    last: LayerKey
    mechanism: str | None
    """How the model attended then: distance attention may have been installed since."""


@dataclass(slots=True, eq=False)
class PrefixCache:
    """Keys and values of prompt beginnings that were seen at least twice.

    Parameters
    ----------
    shortest, longest
        Fewest tokens worth keeping, and most that are kept.
    size
        How many beginnings are kept; the one used longest ago makes room.
    """

    shortest: int = 16
    longest: int = 1024
    size: int = 8
    _kept: deque[_Kept] = field(default_factory=deque)
    _seen: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=16))
    _lock: Lock = field(default_factory=Lock)

    def start(
        self, model: Model, prompts: Sequence[np.ndarray], *, last: LayerKey, tail: int = 1
    ) -> "tuple[int, DynamicCache | None]":
        """How many tokens all prompts share with a kept beginning, and a cache holding them, batch-wide.

        At least ``tail`` tokens of each prompt are left to be read. Fills the cache when a beginning comes back.
        """
        if not keeps_whole_past(model):
            return 0, None
        with self._lock:
            kept = self._find(model, prompts, last, tail)
        return (0, None) if kept is None else (len(kept.ids), _cache_of(model, kept, len(prompts)))

    def _find(self, model: Model, prompts: Sequence[np.ndarray], last: LayerKey, tail: int) -> _Kept | None:
        most = min(self.longest, min(len(ids) for ids in prompts) - tail)
        shared = _shared(prompts)[:most]
        own = [kept for kept in self._kept if kept.model() is model.hf and kept.mechanism == mechanism_of(model.hf)]
        fitting = [kept for kept in own if kept.last >= last and _common(kept.ids, shared) == len(kept.ids)]
        others = list(self._seen) + (list(prompts[1:]) if len(prompts) > 1 else [])
        self._seen.extend(prompts[-self._seen.maxlen :] if self._seen.maxlen else ())
        longest = max((_common(shared, other) for other in others), default=0)
        best = max(fitting, key=lambda kept: len(kept.ids), default=None)
        if max(longest, len(best.ids) if best else 0) * WORTH < max(len(ids) for ids in prompts):
            return None
        if best is not None and longest < len(best.ids) + self.shortest:
            self._kept.remove(best)
        elif longest >= self.shortest:
            best = _compute(model, shared[:longest], last)
        else:
            return None
        self._kept.append(best)
        while len(self._kept) > self.size:
            self._kept.popleft()
        return best


@dataclass(slots=True, eq=False)
class PromptCache(PrefixCache):
    """Keys and values of one whole prompt, computed once: other prompts use as much of it as they begin with.

    For many variants of one text, or to read what was just generated. Holds ``2 L K T D`` numbers for the T tokens.
    """

    prompt: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Its ids, ``[T]``."""

    def adopt(self, model: Model, ids: np.ndarray, cache: "DynamicCache") -> None:
        """Take over the keys and values that a generation made of these tokens, instead of computing them.

        Nothing is taken of a model whose layers forget (`keeps_whole_past`).
        """
        if not keeps_whole_past(model):
            return
        held: list[Any] = cache.layers
        layers = tuple((layer.keys[:, :, : len(ids)], layer.values[:, :, : len(ids)]) for layer in held)
        kept = _Kept(ref(model.hf), ids, layers, layers_of(model).keys[-1], mechanism_of(model.hf))
        with self._lock:
            self.prompt, self._kept = ids, deque([kept])

    def _find(self, model: Model, prompts: Sequence[np.ndarray], last: LayerKey, tail: int) -> _Kept | None:
        longest = max(map(len, prompts))
        count = min(_common(self.prompt, _shared(prompts)), min(map(len, prompts)) - tail)
        if count < self.shortest or count * WORTH < longest:
            return None
        own = [kept for kept in self._kept if kept.model() is model.hf and kept.mechanism == mechanism_of(model.hf)]
        kept = next((kept for kept in own if kept.last >= last), None) or _compute(model, self.prompt, last)
        self._kept = deque([kept])
        layers = tuple((keys[:, :, :count], values[:, :, :count]) for keys, values in kept.layers)
        return _Kept(kept.model, kept.ids[:count], layers, kept.last, kept.mechanism)


def keeps_whole_past(model: Model) -> bool:
    """Whether every layer is softmax attention over the whole past, so that keys and values are all there is."""
    anatomy = model.anatomy
    return (
        not anatomy.encoder_decoder
        and len(anatomy.attention_layers) == anatomy.layers
        and not any(anatomy.windows)
        and layers_of(model).keys[0].stack == "decoder"
        and not _rope_moves(model.hf.config)
    )


def _rope_moves(config: Any) -> bool:
    """Whether rotary positions of earlier tokens change as the prompt grows (dynamic NTK, LongRoPE)."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [part for part in (found, *found.values()) if isinstance(part, dict)]
    return any(part.get("rope_type", part.get("type")) in ("dynamic", "longrope") for part in kinds)


def _common(a: np.ndarray, b: np.ndarray) -> int:
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


def _shared(prompts: Sequence[np.ndarray]) -> np.ndarray:
    shared = prompts[0]
    for ids in prompts[1:]:
        shared = shared[: _common(shared, ids)]
    return shared


def _compute(model: Model, ids: np.ndarray, last: LayerKey) -> _Kept:
    """Run the beginning alone, up to the deepest wanted layer, and keep its keys and values."""

    def observe(call: Call) -> None:
        del call

    cache = empty_cache(model.hf)
    modules = layers_of(model).modules
    where: dict[str, Any] = {"modules": frozenset(modules.values()), "last": modules[last]}
    with torch.no_grad(), memory_errors(model), listening(model.hf, observe, **where):
        tokens = torch.from_numpy(ids)[None].to(model.device)
        model.hf.base_model(input_ids=tokens, past_key_values=cache, use_cache=True)
    held: list[Any] = cache.layers[: last.index + 1]
    layers = tuple((layer.keys, layer.values) for layer in held)
    return _Kept(ref(model.hf), ids, layers, last, mechanism_of(model.hf))


def _cache_of(model: Model, kept: _Kept, batch: int) -> "DynamicCache":
    cache = empty_cache(model.hf)
    for index, (keys, values) in enumerate(kept.layers):
        cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
    return cache
