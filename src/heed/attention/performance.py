"""Where the time and memory of a forward pass go, layer by layer, for any module.

Hooks take the time of each layer and label it for torch's profiler, so a profile that is running anyway shows the
layers by name. Memory is read from the profiler's record of torch's allocator: what a native kernel takes for itself
does not pass through it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.profiler import profile, record_function

from heed.errors import InputError

_LABEL = "heed: "


@dataclass(frozen=True, slots=True)
class LayerPerformance:
    """Forward passes of one layer, those that raised included: seconds, with what its parts take.

    ``peak_mb``, where memory was asked for: most memory that torch's allocator held at once above what it held when
    the layer began, in MB (10^6 bytes), the output included; the largest of all passes.
    """

    name: str
    kind: str
    calls: int
    seconds: float
    median_seconds: float
    slowest_seconds: float
    peak_mb: float | None = None


@dataclass(slots=True)
class Performance:
    """What `performance_stats` measures; ``layers`` is filled when its block is left, in the order of the model."""

    layers: tuple[LayerPerformance, ...] = field(default=())

    def __str__(self) -> str:
        if not self.layers:
            return "nothing measured yet: leave the block of performance_stats first"
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        kind = max(len("kind"), *(len(layer.kind) for layer in self.layers))
        lines = [f"{'layer':<{width}}  {'kind':<{kind}}  calls  median ms  slowest ms  total ms  peak MB"]
        for layer in self.layers:
            peak = "" if layer.peak_mb is None else f"{layer.peak_mb:.2f}"
            lines.append(
                f"{layer.name:<{width}}  {layer.kind:<{kind}}  {layer.calls:>5}  {layer.median_seconds * 1e3:9.3f}"
                f"  {layer.slowest_seconds * 1e3:10.3f}  {layer.seconds * 1e3:8.2f}  {peak:>7}"
            )
        return "\n".join(lines)


@contextmanager
def performance_stats(
    model: nn.Module, *, layers: Collection[str] | None = None, memory: bool = False
) -> Iterator[Performance]:
    """Measure the forward passes that a model makes until the block is left.

    ::

        with performance_stats(model) as stats:
            model(x)
        print(stats)

    Parameters
    ----------
    layers
        Names of modules (as `named_modules` has them). None: the members of every ModuleList and their direct parts,
        or, in a model without a list, the direct parts of the model.
    memory
        Also record memory, with torch's profiler; its own cost is then in the times.

    Raises
    ------
    InputError
        If a name is not that of a module of the model.
    """
    chosen = _chosen(model, layers)
    passes = _Passes()
    stats = Performance()
    with ExitStack() as hooks:
        for name, module in chosen.items():
            before, after = passes.hooks(name, module)
            hooks.callback(module.register_forward_pre_hook(before).remove)
            hooks.callback(module.register_forward_hook(after, always_call=True).remove)
        with profile(profile_memory=True) if memory else nullcontext() as profiled:
            yield stats
    peaks = {} if profiled is None else _peaks(profiled)
    stats.layers = tuple(
        LayerPerformance(name, type(chosen[name]).__name__, len(seconds), sum(seconds), median(seconds), max(seconds),
                         peaks.get(name))
        for name, seconds in passes.in_order(chosen)
    )  # fmt: skip


class _Passes:
    """Times of layers, taken by hooks; layers may run inside each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.open: list[tuple[float, Any]] = []

    def hooks(self, name: str, module: nn.Module) -> tuple[Callable[..., None], Callable[..., None]]:
        parameter = next(module.parameters(), None)
        device = torch.device("cpu") if parameter is None else parameter.device

        def before(module: nn.Module, arguments: object) -> None:
            label = record_function(_LABEL + name)
            label.__enter__()  # type: ignore[no-untyped-call]
            _wait(device)
            self.open.append((perf_counter(), label))

        def after(module: nn.Module, arguments: object, output: object) -> None:
            _wait(device)
            begun, label = self.open.pop()
            self.seconds.setdefault(name, []).append(perf_counter() - begun)
            label.__exit__(None, None, None)

        return before, after

    def in_order(self, names: Collection[str]) -> list[tuple[str, list[float]]]:
        return [(name, self.seconds[name]) for name in names if name in self.seconds]


def _wait(device: torch.device) -> None:
    """For a GPU to finish what it was given; it would be charged to a later layer."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _chosen(model: nn.Module, layers: Collection[str] | None) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    if layers is None:
        lists = [name for name, module in modules.items() if isinstance(module, nn.ModuleList)]
        members = [name for name in modules if name.rpartition(".")[0] in lists]
        parts = [name for name in modules if name and name.rpartition(".")[0] in (members or [""])]
        return {name: module for name, module in modules.items() if name in {*members, *parts}}
    if unknown := sorted(set(layers) - modules.keys()):
        raise InputError(
            f"expected names of modules of {type(model).__name__}, found {', '.join(unknown)}; it has "
            f"{', '.join(list(modules)[1:6])}, ..."
        )
    return {name: module for name, module in modules.items() if name in layers}


def _peaks(profiled: Any) -> dict[str, float]:
    """Most MB held above the start of each labelled layer, from the allocator's events within its time."""
    events = profiled.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    times, held = [at for at, _ in changes], [0, *accumulate(size for _, size in changes)]
    peaks: dict[str, float] = {}
    for event in events:
        if event.name().startswith(_LABEL) and event.device_type().name == "CPU":
            first, last = bisect_left(times, event.start_ns()), bisect_right(times, event.end_ns())
            peak = max(held[first : last + 1]) - held[first]
            name = event.name().removeprefix(_LABEL)
            peaks[name] = max(peaks.get(name, 0.0), peak / 1e6)
    return peaks
