"""What the layers of a model ask of attention, layer by layer, while the model runs.

Comes in: any module whose layers attend by `heed.attention.distance_attention`, heed's own layers or a transformers
model under heed's attention. Goes out: for each forward pass of each layer one `Heard`, which computes what is wanted
of it. Knows no model: a layer is the module that was running when it asked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heed.attention.distance import reference
from heed.attention.distance.call import Request
from heed.attention.distance.functional import Aux, attend
from heed.attention.distance.listening import listening
from heed.attention.modules.mechanism import Mechanism
from heed.errors import InputError, UnsupportedModelError

STATISTICS = frozenset({"entropy", "max_probability", "mean_distance"})


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One layer's attention in one forward pass: a request for each metric among its heads.

    ``heads[g]`` are the heads, counted within the layer, that ``requests[g]`` is about.
    """

    layer: str
    requests: Sequence[Request]
    heads: Sequence[Sequence[int]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric of each head."""
        named = [request.metric.name for request, heads in zip(self.requests, self.heads, strict=True) for _ in heads]
        return tuple(named[place] for place in self._order())

    def statistics(self) -> tuple[Float[Tensor, "B H Q"], Float[Tensor, "B H Q"], Float[Tensor, "B H Q"]]:
        """Row entropy in nats, largest weight and mean distance (without λ·c), from the fused pass: nothing is Q×T."""
        found = [attend(_undropped(request), STATISTICS)[1] for request in self.requests]
        entropy, highest, mean = (self._joined([_wanted(aux, name) for aux in found]) for name in _FIELDS)
        return entropy, highest, mean

    def weights(self, rows: Int[Tensor, " r"] | None = None) -> Float[Tensor, "B H r T"]:
        """Weights before dropout of some rows, or of all: then S×S, for short texts."""
        return self._joined([_weights(_undropped(request), rows) for request in self.requests])

    @property
    def n_rows(self) -> int:
        """Query rows of each sequence."""
        return self.requests[0].call.q.shape[2]

    @property
    def n_weights(self) -> int:
        """How many weights the pass has, B·H·Q·T."""
        calls = [request.call for request in self.requests]
        return sum(call.q.shape[:3].numel() * call.k.shape[2] for call in calls)

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1)[:, self._order()]

    def _order(self) -> list[int]:
        """Where each head's part stands when those of the requests are laid side by side."""
        said = [head for heads in self.heads for head in heads]
        return sorted(range(len(said)), key=said.__getitem__)


_FIELDS = ("entropy", "max_probability", "mean_distance")


@contextmanager
def hearing(model: nn.Module, observe: Callable[[Heard], None]) -> Iterator[None]:
    """Let ``observe`` hear each layer of a model, each time it attends in this thread, until the block is left.

    Raises
    ------
    InputError
        If a layer remembers results: what it remembers it does not compute.
    UnsupportedModelError
        When the block is left without an error, if no layer attended by heed's attention.
    """
    ear = _Ear(model, observe)
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, Mechanism) and module.result_cache is not None:
                raise InputError(f"expected layers that compute, found {name!r} with a result cache: set it to None")
            entering = module.register_forward_pre_hook(ear.enter(name))
            hooks.callback(entering.remove)
            hooks.callback(module.register_forward_hook(ear.leave, always_call=True).remove)
        with listening(ear.hear):
            yield
    if not ear.heard:
        raise UnsupportedModelError(
            f"expected a model whose layers attend by heed.attention, found none in {type(model).__name__}: use "
            "heed's layers or heed.install(model, metric=...), uncompiled, and run it in the same thread"
        )


class _Ear:
    """Knows which module is running, and gathers the requests that belong together."""

    def __init__(self, model: nn.Module, observe: Callable[[Heard], None]) -> None:
        self.modules, self.observe = dict(model.named_modules()), observe
        self.running: list[str] = []
        self.pending: dict[str, list[Request]] = {}
        self.heard = False

    def enter(self, name: str) -> Callable[[nn.Module, object], None]:
        return lambda module, arguments: self.running.append(name)

    def leave(self, module: nn.Module, arguments: object, output: object) -> None:
        self.running.pop()

    def hear(self, request: Request) -> None:
        if not self.running:  # another model of the same thread
            return
        self.heard = True
        name = self.running[-1]
        module = self.modules[name]
        heads = _head_groups(module) or [list(range(request.call.q.shape[1]))]
        requests = self.pending.setdefault(name, [])
        requests.append(request)
        if len(requests) == len(heads):
            del self.pending[name]
            self.observe(Heard(_layer_name(name, module), requests, heads))


def _head_groups(module: nn.Module) -> list[list[int]]:
    """How a module, or what is attached to it, splits its heads among calls; empty if it makes one call."""
    for part in (module, *module.children()):
        groups: list[list[int]] | None = getattr(part, "head_groups", None)
        if groups:
            return groups
    return []


def _layer_name(name: str, module: nn.Module) -> str:
    """A `Mechanism` is a part of its layer, which is what has a name to its user."""
    return name.rpartition(".")[0] if isinstance(module, Mechanism) and "." in name else name


def _undropped(request: Request) -> Request:
    return replace(request, call=replace(request.call, dropout_p=0.0, seed=None))


def _wanted(aux: Aux, name: str) -> Tensor:
    value: Tensor = getattr(aux, name)
    return value


def _weights(request: Request, rows: Tensor | None) -> Tensor:
    """Weights of some rows, one at a time: each is a call of its own with its position and its row of the mask."""
    if rows is None:
        weights = reference.attend(request, weights=True)[1]
        assert weights is not None
        return weights
    return torch.cat([_weights(_row(request, row), None) for row in rows.tolist()], 2)


def _row(request: Request, row: int) -> Request:
    call = request.call
    mask = call.mask if call.mask is None or call.mask.shape[2] == 1 else call.mask[:, :, row : row + 1]
    call = replace(call, q=call.q[:, :, row : row + 1], q_offset=call.q_offset + row, mask=mask)
    return replace(request, call=call)
