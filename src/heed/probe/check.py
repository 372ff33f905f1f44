"""The proof: on a small prompt, what heed reads is what the model's own eager attention computes."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heed.attention.dot.fused import lse_source
from heed.interface.session import lock_of
from heed.model import Model
from heed.probe.layers import layers_of
from heed.probe.trace import trace
from heed.probe.view import LayerKey
from heed.text.encode import Encoded

_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-5}
_LOW_PRECISION_TOLERANCE = 0.05
"""Eager attention rounds its weights to the model's dtype layer by layer; this much is its own error."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Largest absolute difference of any attention weight, and where it is.

    ``exact`` says whether it lies within ``tolerance``: 1e-5 in fp32; in a 16-bit dtype eager attention itself is
    off by more, so load the model in float32 for the strict proof.
    """

    model_name: str
    layers: int
    tokens: int
    dtype: str
    difference: float
    worst_layer: str
    tolerance: float
    lse_source: str
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether the reading equals eager attention within the tolerance."""
        return self.difference <= self.tolerance


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
    kept, maps = trace(model, prompt), _eager_maps(model, torch.from_numpy(ids)[None].to(model.device))
    differences = {
        key: float((kept.views[key].rows(slice(None)) - maps[key].float()).abs().max()) for key in kept.layers
    }
    worst = max(differences, key=lambda key: differences[key])
    return CheckReport(
        model_name=model.name,
        layers=len(differences),
        tokens=tokens,
        dtype=str(model.dtype).removeprefix("torch."),
        difference=differences[worst],
        worst_layer=str(worst),
        tolerance=_TOLERANCE.get(model.dtype, _LOW_PRECISION_TOLERANCE),
        lse_source=lse_source().reason,
        seconds=perf_counter() - started,
    )


def _eager_maps(model: Model, ids: Tensor) -> dict[LayerKey, Tensor]:
    """All maps of the model's own eager attention; the implementation is put back afterwards."""
    hf: Any = model.hf
    keys = layers_of(model).keys
    arguments: dict[str, Tensor] = {}
    if model.anatomy.encoder_decoder:
        arguments["decoder_input_ids"] = torch.full((1, 1), hf.config.decoder_start_token_id or 0, device=ids.device)
    with lock_of(hf):
        before = hf.config._attn_implementation
        hf.set_attn_implementation("eager")
        try:
            with torch.no_grad():
                out = hf.base_model(input_ids=ids, output_attentions=True, use_cache=False, **arguments)
        finally:
            hf.set_attn_implementation(before)
    if not model.anatomy.encoder_decoder:
        return dict(zip(keys, out.attentions, strict=True))
    stacks = {
        ("encoder", "self"): out.encoder_attentions,
        ("decoder", "self"): out.decoder_attentions,
        ("decoder", "cross"): out.cross_attentions,
    }
    return {key: stacks[key.stack, key.kind][key.index] for key in keys}
