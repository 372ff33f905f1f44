"""Which attention layers a model has, learned by listening to it once rather than by guessing from names."""

from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from heed.errors import UnsupportedModelError
from heed.interface.call import Call
from heed.interface.session import listening
from heed.model import Model
from heed.probe.view import LayerKey, Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CROSS_NAMES = ("encoder_attn", "EncDecAttention", "crossattention", "cross_attn")


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """The attention layers of a model in the order they run, and the module of each."""

    modules: dict[LayerKey, nn.Module]

    @property
    def keys(self) -> tuple[LayerKey, ...]:
        """All layers, in the order they run."""
        return tuple(self.modules)

    def last_of(self, wanted: Collection[LayerKey]) -> LayerKey:
        """The one of ``wanted`` that runs last."""
        return [key for key in self.keys if key in wanted][-1]


_KNOWN: "WeakKeyDictionary[PreTrainedModel, Layers]" = WeakKeyDictionary()
_KNOWN_GUARD = Lock()


def layers_of(model: Model) -> Layers:
    """The layers of a model; the first time, a pass over two tokens finds them.

    Raises
    ------
    UnsupportedModelError
        If no layer attends through the attention interface, or one does so twice in a pass.
    """
    with _KNOWN_GUARD:
        known = _KNOWN.get(model.hf)
    if known is None:
        known = _listen_once(model)
        with _KNOWN_GUARD:
            _KNOWN[model.hf] = known
    return known


def _listen_once(model: Model) -> Layers:
    hf = model.hf
    heard: list[nn.Module] = []

    def observe(call: Call) -> None:
        heard.append(call.module)

    ids = torch.zeros(1, 2, dtype=torch.int64, device=model.device)
    arguments = {"decoder_input_ids": ids[:, :1]} if model.anatomy.encoder_decoder else {}
    with torch.no_grad(), listening(hf, observe, modules=frozenset(hf.modules())):
        hf.base_model(input_ids=ids, use_cache=False, **arguments)
    if not heard:
        raise UnsupportedModelError(
            f"expected attention through transformers' AttentionInterface, found none in {type(hf).__name__} "
            f"({hf.config.model_type}): it has no softmax attention, or attention code of its own"
        )
    names = {module: name for name, module in hf.named_modules()}
    modules: dict[LayerKey, nn.Module] = {}
    for module in heard:
        key = _key(names[module], module, encoder_decoder=model.anatomy.encoder_decoder)
        if key in modules:
            raise UnsupportedModelError(
                f"expected one attention call a layer, found two for {key} ({names[module]}): "
                f"heed cannot tell them apart in {hf.config.model_type}"
            )
        modules[key] = module
    return Layers(modules)


def _key(name: str, module: nn.Module, *, encoder_decoder: bool) -> LayerKey:
    parts = name.split(".")
    numbers = [part for part in parts if part.isdigit()]
    if not numbers:
        raise UnsupportedModelError(f"expected a layer number in the name of an attention module, found {name!r}")
    stack: Stack = "decoder" if getattr(module, "is_causal", True) else "encoder"
    if encoder_decoder:
        stack = "encoder" if "encoder" in parts else "decoder"
    return LayerKey(stack, int(numbers[0]), "cross" if parts[-1] in _CROSS_NAMES else "self")
