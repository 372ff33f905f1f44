"""Attention weights of chosen layers, kept while a model runs: on request, because they are S×S.

Each is also a log record of ``heed.attention.weight_log`` at level INFO, without the numbers themselves.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from heed.attention.heard import Heard, hearing
from heed.errors import InputError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LoggedWeights:
    """The weights ``[B, H, Q, T]`` of one forward pass of a layer, before dropout, in fp32 on the CPU.

    ``number`` counts the passes of the layer from 0, those that were not kept included.
    """

    layer: str
    number: int
    weights: Float[Tensor, "B H Q T"]


@dataclass(slots=True)
class WeightLog:
    """What `log_weights` has kept so far, in the order in which the layers attended."""

    entries: list[LoggedWeights] = field(default_factory=list)

    def of(self, layer: str) -> list[LoggedWeights]:
        """The entries of one layer."""
        return [entry for entry in self.entries if entry.layer == layer]

    def save(self, path: str | Path) -> None:
        """Write all weights as a compressed ``.npz``, each under the name ``<layer>/<number>``."""
        named = {f"{entry.layer}/{entry.number}": entry.weights.numpy() for entry in self.entries}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **named)


@contextmanager
def log_weights(
    model: nn.Module, *, layers: Collection[str] | None = None, every: int = 1, max_bytes: int = 1 << 30
) -> Iterator[WeightLog]:
    """Keep the weights of a model's layers until the block is left; the model computes what it would without.

    Parameters
    ----------
    layers
        Names of attention modules; None: all.
    every
        Keep the weights of every so manieth pass of a layer, from the first.
    max_bytes
        How much may be kept.

    Raises
    ------
    InputError
        If a name is not that of a module, or more than ``max_bytes`` would be kept.
    UnsupportedModelError
        If no layer attends by heed's attention.
    """
    names = {name for name, _ in model.named_modules()}
    if unknown := sorted(set(layers or ()) - names):
        raise InputError(f"expected names of modules of {type(model).__name__}, found {', '.join(unknown)}")
    if every < 1:
        raise InputError(f"every: expected at least 1, found {every}")
    log, passes, kept = WeightLog(), dict[str, int](), 0

    def observe(heard: Heard) -> None:
        nonlocal kept
        if layers is not None and heard.layer not in layers:
            return
        number = passes[heard.layer] = passes.get(heard.layer, -1) + 1
        if number % every:
            return
        kept += heard.n_weights * 4
        if kept > max_bytes:
            raise InputError(
                f"expected weights of at most {max_bytes} bytes, found {kept} with layer {heard.layer!r}: log fewer "
                "layers, every so manieth pass, or shorter texts, or raise max_bytes"
            )
        with torch.no_grad():
            weights = heard.weights().float().cpu()
        log.entries.append(LoggedWeights(heard.layer, number, weights))
        _logger.info("logged the attention weights %s of %s, pass %d", tuple(weights.shape), heard.layer, number)

    with hearing(model, observe):
        yield log
