"""Who listens during a pass: probes asked layer by layer, and the checks that none was missed or heard twice.

Comes in: the calls of a pass. Goes out: numpy values by pass, probe and layer. It does not run the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from heed.attention.terms import Terms
from heed.errors import UnsupportedModelError
from heed.interface.call import Call
from heed.model import Model
from heed.probe.batch import Batch
from heed.probe.layers import layers_of
from heed.probe.probes import Moment, Probe
from heed.probe.view import LayerKey, LayerView, Stack


@dataclass(slots=True, eq=False)
class Listener:
    """Collects what the probes say, pass by pass, and checks that no wanted layer is heard twice or missing."""

    keys: Mapping[nn.Module, LayerKey]
    probes: Mapping[str, Probe]
    members: Tensor
    rows: Mapping[Stack, Tensor]
    real: Mapping[Stack, Tensor | None]
    steps: list[dict[str, dict[LayerKey, np.ndarray]]] = field(default_factory=list)
    sums: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        model: Model,
        wanted: Sequence[LayerKey],
        probes: Mapping[str, Probe],
        *,
        members: Tensor,
        batch: Batch,
        target: Batch | None,
    ) -> Self:
        """Listen to the wanted layers; ``target`` holds the decoder's tokens of an encoder-decoder model."""
        modules = layers_of(model).modules
        rows: dict[Stack, Tensor] = {"encoder": batch.last_rows(), "decoder": _decoder_rows(model, batch, target)}
        real: dict[Stack, Tensor | None] = {
            "encoder": _real_rows(batch),
            "decoder": _real_decoder_rows(model, batch, target),
        }
        return cls({modules[key]: key for key in wanted}, probes, members, rows, real)

    def next_pass(self) -> None:
        """A pass begins."""
        self.steps.append({name: {} for name in self.probes})

    def hear(self, call: Call) -> None:
        """Ask every probe about a layer.

        Raises
        ------
        UnsupportedModelError
            If the layer was heard in this pass already.
        """
        key, step = self.keys[call.module], self.steps[-1]
        if any(key in values for values in step.values()):
            raise UnsupportedModelError(f"expected one attention call a layer and pass, found two for {key}")
        view, moment = LayerView(key, call.q, call.k, self._terms(key, call), call.lse), self._moment(key)
        self.sums.append(call.k.sum((1, 2, 3), dtype=torch.float32))
        for name, probe in self.probes.items():
            value = probe(view, moment).float()
            self.sums.append(value.flatten(1).sum(1))
            step[name][key] = value.cpu().numpy()

    def finite(self) -> Bool[np.ndarray, " B"]:
        """Whether all keys and readings of each prompt were finite: a sum is not if any of its terms is not."""
        return np.asarray(torch.stack(self.sums).isfinite().all(0).cpu().numpy())

    def check(self) -> None:
        """Raise UnsupportedModelError if a wanted layer was not heard."""
        for values in (values for step in self.steps for values in step.values()):
            missing = [str(key) for key in self.keys.values() if key not in values]
            if missing:
                raise UnsupportedModelError(f"expected a call of each wanted layer, found none of {missing[:4]}")

    def _terms(self, key: LayerKey, call: Call) -> Terms:
        """The call's terms with padded rows emptied; a generated token is never padding."""
        real = self.real[key.stack]
        if real is None or len(self.steps) > 1:
            return call.terms
        held = real[:, real.shape[1] - call.q.shape[2] :]
        return replace(call.terms, mask=call.terms.mask.only_rows(held))

    def _moment(self, key: LayerKey) -> Moment:
        step, row = len(self.steps) - 1, self.rows[key.stack]
        return Moment(torch.full_like(row, -1) if step else row, self.members, step)


def _decoder_rows(model: Model, batch: Batch, target: Batch | None) -> Int[Tensor, "B 1"]:
    """The decoder's last row of each prompt; in an encoder-decoder its start token comes first."""
    if not model.anatomy.encoder_decoder:
        return batch.last_rows()
    return torch.zeros_like(batch.last_rows()) if target is None else target.last_rows() + 1


def _real_rows(batch: Batch) -> Bool[Tensor, "B T"] | None:
    return batch.real().bool() if batch.padded else None


def _real_decoder_rows(model: Model, batch: Batch, target: Batch | None) -> Bool[Tensor, "B T"] | None:
    if not model.anatomy.encoder_decoder:
        return _real_rows(batch)
    real = None if target is None else _real_rows(target)
    return None if real is None else torch.nn.functional.pad(real, (1, 0), value=True)
