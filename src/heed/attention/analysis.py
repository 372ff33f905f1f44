"""What the heads of a model do: how widely they look, how far in their metric, and how much alike, without S×S.

Entropy, largest weight and mean distance come from the pass that computes attention; only likeness of heads needs
weights, and takes them of a few rows.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from heed.attention.heard import Heard, hearing
from heed.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class LayerAnalysis:
    """Means over the rows of all samples, for each head of one layer.

    ``entropy``: of the weights, in nats, 0 (one key) to ln of the keys seen. ``effective_context``: exp(entropy), in
    keys: a head that spreads evenly over n keys has n. ``max_probability``: the largest weight. ``mean_distance``:
    from a query to what it attends to, in the head's metric without λ·c ("dot": minus the product). ``similarity``:
    cosine between the weights that two heads give to the same row, 0 (no key in common) to 1 (alike).
    """

    name: str
    metrics: tuple[str, ...]
    rows: int
    entropy: Float[Tensor, " H"]
    effective_context: Float[Tensor, " H"]
    max_probability: Float[Tensor, " H"]
    mean_distance: Float[Tensor, " H"]
    similarity: Float[Tensor, "H H"]

    def record(self) -> dict[str, Any]:
        """As plain values for JSON."""
        fields = ("entropy", "effective_context", "max_probability", "mean_distance", "similarity")
        numbers = {field: getattr(self, field).tolist() for field in fields}
        return {"name": self.name, "metrics": list(self.metrics), "rows": self.rows, **numbers}


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What `analyze` found: the layers in the order in which they attend, and how many samples were read."""

    layers: tuple[LayerAnalysis, ...]
    samples: int

    def record(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"samples": self.samples, "layers": [layer.record() for layer in self.layers]}

    def __str__(self) -> str:
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        lines = [f"{'layer':<{width}}  head  metric            entropy  context  max prob  distance  most alike"]
        for layer in self.layers:
            for head, metric in enumerate(layer.metrics):
                numbers = (layer.entropy, layer.effective_context, layer.max_probability, layer.mean_distance)
                entropy, context, highest, distance = (float(values[head]) for values in numbers)
                lines.append(
                    f"{layer.name:<{width}}  {head:>4}  {metric:<16}  {entropy:7.3f}  {context:7.1f}  {highest:8.3f}"
                    f"  {distance:8.3g}  {_most_alike(layer.similarity, head)}"
                )
        return "\n".join(lines)


def analyze(
    model: nn.Module,
    dataloader: Iterable[Any],
    num_samples: int = 64,
    *,
    rows: int = 16,
    run: Callable[[nn.Module, Any], object] | None = None,
) -> Analysis:
    """Read how each head attends over the first ``num_samples`` sequences of a data loader.

    Parameters
    ----------
    model
        Any module whose layers attend by `heed.attention`; it runs in eval mode, without gradients, and is put
        back into the mode it was in.
    dataloader
        Batches: a tensor, a tuple whose first entry is the input, or a mapping of arguments by name. Rows that a
        mapping's ``attention_mask`` ``[B, Q]``, or else a layer's key mask of self-attention, marks as padding are
        left out, as are rows that see no key.
    num_samples
        Sequences to read, > 0; fewer if the data ends before.
    rows
        Rows of each sequence on which heads are compared.
    run
        How to run the model on a batch, where the ways above do not fit.

    Raises
    ------
    InputError
        If there is no sample, ``num_samples`` or ``rows`` is not positive, or a layer has a result cache.
    UnsupportedModelError
        If no layer attends by heed's attention.
    """
    if num_samples < 1 or rows < 1:
        raise InputError(f"expected num_samples and rows of at least 1, found {num_samples} and {rows}")
    layers: dict[str, _Sums] = {}
    samples, training = 0, model.training
    padding: Tensor | None = None

    def observe(heard: Heard) -> None:
        layers.setdefault(heard.layer, _Sums()).add(heard, padding, rows)

    model.eval()
    try:
        with torch.no_grad(), hearing(model, observe):
            for batch in dataloader:
                cut = _first(batch, num_samples - samples, _device(model))
                padding = cut.get("attention_mask") if isinstance(cut, Mapping) else None
                (run or _run)(model, cut)
                samples += _size(cut)
                if samples >= num_samples:
                    break
            if not samples:
                raise InputError("expected a data loader with at least one batch, found an empty one")
    finally:
        model.train(training)
    return Analysis(tuple(sums.result(name) for name, sums in layers.items()), samples)


class _Sums:
    """Sums over rows of one layer."""

    def __init__(self) -> None:
        self.metrics: tuple[str, ...] = ()
        self.rows = self.compared = 0
        self.values: Float[Tensor, "4 H"] | float = 0.0
        self.alike: Float[Tensor, "H H"] | float = 0.0

    def add(self, heard: Heard, padding: Tensor | None, rows: int) -> None:
        self.metrics = heard.metrics
        entropy, highest, distance = heard.statistics()
        counted = _counted(heard, highest, padding)
        values = torch.stack([entropy, entropy.exp(), highest, distance]).double()
        self.values = self.values + torch.where(counted[:, None], values, 0.0).sum((1, 3)).cpu()
        self.rows += int(counted.sum())
        places = _places(heard.n_rows, rows).to(counted.device)
        weights = heard.weights(places).double()
        unit = weights / weights.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        chosen = counted[:, places].double()
        self.alike = self.alike + torch.einsum("bhrt,bgrt,br->hg", unit, unit, chosen).cpu()
        self.compared += int(chosen.sum())

    def result(self, name: str) -> LayerAnalysis:
        assert isinstance(self.values, Tensor)
        assert isinstance(self.alike, Tensor)
        entropy, context, highest, distance = (self.values / (self.rows or math.nan)).float()
        alike = (self.alike / (self.compared or math.nan)).float()
        return LayerAnalysis(name, self.metrics, self.rows, entropy, context, highest, distance, alike)


def _counted(heard: Heard, highest: Tensor, padding: Tensor | None) -> Bool[Tensor, "B Q"]:
    """Rows that count: they see a key, and are not padding."""
    sees, call = (highest > 0).any(1), heard.requests[0].call
    if padding is not None and padding.shape == sees.shape:
        return sees & padding.bool()
    own_keys = call.q_offset == 0 and call.q.shape[2] == call.k.shape[2]
    return sees & call.key_mask if call.key_mask is not None and own_keys else sees


def _places(n_rows: int, rows: int) -> Int[Tensor, " r"]:
    """Evenly spaced rows, the last among them; under a causal mask the first rows see too little to compare."""
    count = min(rows, n_rows)
    return torch.arange(1, count + 1) * n_rows // count - 1


def _first(batch: Any, count: int, device: torch.device) -> Any:
    """The first sequences of a batch, on the model's device."""
    if isinstance(batch, Tensor):
        return batch[:count].to(device)
    if isinstance(batch, Mapping):
        return {name: _first(value, count, device) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(_first(value, count, device) for value in batch)
    return batch


def _size(batch: Any) -> int:
    """Sequences of a batch: the length of its first tensor."""
    if isinstance(batch, Tensor):
        return len(batch)
    values = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else ()
    for value in values:
        return _size(value)
    raise InputError(f"expected batches of tensors, found {type(batch).__name__}")


def _run(model: nn.Module, batch: Any) -> object:
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(batch[0] if isinstance(batch, tuple | list) else batch)


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _most_alike(similarity: Tensor, head: int) -> str:
    """The head most like this one."""
    if len(similarity) == 1:
        return ""
    others = similarity[head].clone()
    others[head] = -1.0
    return f"{int(others.argmax())} ({float(others.max()):.2f})"
