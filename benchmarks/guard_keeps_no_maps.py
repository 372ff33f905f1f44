"""Attention memory of one check is at most a hundredth of the published way's, by counting the tensors both keep.

Published: the fp16 maps of all layers, alive together. heed: what the probes of a pass return for the layers of the
profile, the logsumexps of all rows, and the largest block of rows that lives for a moment, with its logits; of a check
in several passes the largest. Each way runs in a process of its own, whose peak beyond the loaded model is told as
well; that peak holds everything else of a pass, too.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

from torch import Tensor

from harness import Claim, at_most, main, pick
from heed.guard import listening
from heed.probe import LayerView, Moment, PooledMass, Probe, Reading, TailMass, TokenPull, read
from inputs import INSTRUCTION, data_of, embedded, guard_of
from machine import child, held_bytes, peak_bytes, reset_peak
from published import PublishedWay

BAR = 0.01
DTYPE = "float32"


@dataclass(slots=True)
class Count:
    """Bytes of attention that one check holds: in the pass at hand, and the most of any pass."""

    kept: int = 0
    lse: int = 0
    block: int = 0
    most: int = 0

    def probed(self, probe: Probe, view: LayerView, moment: Moment) -> Tensor:
        """Reduce a layer; count its result and its logsumexps."""
        value = probe(view, moment)
        self.kept += value.numel() * 4
        self.lse = 0 if view.lse_of_rows is None else view.lse_of_rows.numel() * 4
        self.most = max(self.most, self.kept + self.lse + self.block)
        return value

    def weights(self, value: Tensor) -> Tensor:
        """A block of rows; the largest is counted, and as much again for its logits."""
        self.block = max(self.block, 2 * value.numel() * 4)
        return value

    def read(self, *prompts: Any, **options: Any) -> Reading:
        """One pass, counted from nothing."""
        self.kept = self.block = 0
        return read(*prompts, **options)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count whatever the guard reads."""
        with ExitStack() as stack:
            stack.enter_context(patch.object(listening, "read", self.read))
            for kind in (TailMass, TokenPull, PooledMass):
                stack.enter_context(patch.object(kind, "__call__", _counted(self, kind.__call__)))
            stack.enter_context(patch.object(LayerView, "_weights", _blocks(self, LayerView._weights)))
            yield


def _counted(count: Count, probe: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda own, view, moment: count.probed(partial(probe, own), view, moment)


def _blocks(count: Count, weights: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda view, rows, keys: count.weights(weights(view, rows, keys))


def guard_bytes(tokens: int) -> dict[str, int]:
    """What one check of the guard holds of attention, and its peak in all."""
    model = embedded(DTYPE)
    guard = guard_of(model)
    guard.check(INSTRUCTION, data_of(model, 96, seed=-1))
    data = data_of(model, tokens, seed=0)
    before = held_bytes()
    reset_peak()
    guard.check(INSTRUCTION, data)
    peak, count = peak_bytes() - before, Count()
    with count.counting():
        guard.check(INSTRUCTION, data_of(model, tokens, seed=1))
    return {"bytes": count.most, "peak": peak}


def published_bytes(tokens: int) -> dict[str, int]:
    """The maps the published way keeps, and the peak of one check."""
    model = embedded(DTYPE)
    way = PublishedWay(model.hf, model.tokenizer)
    way.check(INSTRUCTION, data_of(model, 96, seed=-1))
    prompt = way.encode(INSTRUCTION, data_of(model, tokens, seed=0))
    before = held_bytes()
    reset_peak()
    reading = way.read(*prompt)
    return {"bytes": reading.map_bytes, "peak": peak_bytes() - before}


def measure() -> list[Claim]:
    """Both in processes of their own."""
    tokens = pick(1024, 128)
    guard_of(embedded(DTYPE))
    ours, theirs = (child(__file__, who, str(tokens)) for who in ("guard", "published"))
    details = {
        "heed keeps": f"{ours['bytes'] / 1e6:.3f} MB",
        "published way keeps": f"{theirs['bytes'] / 1e6:.1f} MB",
        "peak beyond the model, heed": f"{ours['peak'] / 1e6:.0f} MB",
        "peak beyond the model, published way": f"{theirs['peak'] / 1e6:.0f} MB",
    }
    name = f"attention memory of the guard / published way, {tokens} tokens, {DTYPE}"
    return [at_most(name, ours["bytes"] / theirs["bytes"], BAR, details)]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"guard": guard_bytes, "published": published_bytes}[sys.argv[1]](int(sys.argv[2]))))
    else:
        main(__file__, measure)
