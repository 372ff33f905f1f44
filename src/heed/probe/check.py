"""The proof: on a small prompt, what heed reads is what the model's own eager attention computes."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heed.attention.dot.fused import lse_source
from heed.attention.score import DotScore
from heed.interface.session import attending_as
from heed.model import Model, wrap
from heed.probe.forward import start_id
from heed.probe.layers import layers_of
from heed.probe.trace import Trace, trace
from heed.probe.view import LayerKey
from heed.text.encode import Encoded

_TOLERANCE = 1e-5
"""Largest difference of a weight allowed in fp32."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How far a reading is from eager attention in fp32.

    ``difference`` is the largest absolute difference of any weight and ``worst_layer`` where it is. An fp32 model
    passes if it is at most 1e-5. A 16-bit model passes if its root-mean-square error is at most twice that of the
    model's own eager attention in the same dtype, both against fp32.
    """

    model_name: str
    layers: int
    tokens: int
    dtype: str
    difference: float
    worst_layer: str
    error: float
    """What is held to the tolerance: ``difference`` in fp32, else the root-mean-square error."""
    tolerance: float
    lse_source: str
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether the reading equals eager attention within the tolerance."""
        return self.error <= self.tolerance


def check(model: Model, *, tokens: int = 24) -> CheckReport:
    """Compare every attention weight of a prompt of random tokens with eager attention.

    Raises
    ------
    UnsupportedModelError
        If the model cannot be read at all.
    """
    started = perf_counter()
    vocabulary = int(model.hf.config.get_text_config().vocab_size)
    ids = np.random.default_rng(0).integers(0, vocabulary, tokens)
    prompt = Encoded(ids=ids.astype(np.int64), offsets=np.zeros((tokens, 2), dtype=np.int64), text="")
    tensor = torch.from_numpy(ids)[None].to(model.device)
    kept = trace(model, prompt)
    rows = {key: kept.views[key].rows(slice(None)) for key in kept.layers}
    own = _eager_maps(model, tensor)
    low = model.dtype not in (torch.float32, torch.float64)
    truth = _eager_maps(wrap(_in_fp32(model.hf)), tensor) if low else own
    differences = {key: _largest(rows[key] - truth[key].float()) for key in kept.layers}
    worst = max(differences, key=lambda key: differences[key])
    return CheckReport(
        model_name=model.name,
        layers=len(differences),
        tokens=tokens,
        dtype=str(model.dtype).removeprefix("torch."),
        difference=differences[worst],
        worst_layer=str(worst),
        error=_rms(rows, truth) if low else differences[worst],
        tolerance=2 * _rms(own, truth) if low else _TOLERANCE,
        lse_source=_lse_source(kept),
        seconds=perf_counter() - started,
    )


def _lse_source(kept: Trace) -> str:
    if all(isinstance(view.terms.rule, DotScore) for view in kept.views.values()):
        return lse_source().reason
    return "distance attention gives it beside its output"


def _largest(difference: Tensor) -> float:
    """Infinite where anything is NaN: a model that overflows proves nothing."""
    return float(difference.abs().nan_to_num(nan=torch.inf).max())


def _in_fp32(hf: Any) -> Any:
    return deepcopy(hf).to(torch.float32)


def _rms(maps: Mapping[LayerKey, Tensor], truth: Mapping[LayerKey, Tensor]) -> float:
    squares = [float((maps[key].float() - truth[key].float()).square().mean()) for key in truth]
    return float(np.sqrt(np.mean(squares)))


def _eager_maps(model: Model, ids: Tensor) -> dict[LayerKey, Tensor]:
    """All maps of the model's own eager (or distance) attention; the implementation is put back afterwards."""
    hf: Any = model.hf
    keys = layers_of(model).keys
    arguments: dict[str, Tensor] = {}
    if model.anatomy.encoder_decoder:
        arguments["decoder_input_ids"] = torch.full((1, 1), start_id(hf.config), device=ids.device)
    with torch.no_grad(), attending_as(hf, "eager"):
        out = hf.base_model(input_ids=ids, output_attentions=True, use_cache=False, **arguments)
    if not model.anatomy.encoder_decoder:
        return dict(zip(keys, out.attentions, strict=True))
    stacks = {
        ("encoder", "self"): out.encoder_attentions,
        ("decoder", "self"): out.decoder_attentions,
        ("decoder", "cross"): out.cross_attentions,
    }
    return {key: stacks[key.stack, key.kind][key.index] for key in keys}
