"""Put distance attention into a transformers model, take it out again, and bring it back from a saved folder.

What is put in: a `Distance` beside the projections of each attention layer, with the learned λ; a record in the
configuration; heed's name as the attention implementation. Layers are found by listening to one pass, so any model
that attends through transformers' interface takes it. Nothing else of the model is touched.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from heed.attention.modules.config import Scale
from heed.attention.score import DotScore
from heed.errors import InputError, UnsupportedModelError
from heed.interface.call import Call
from heed.interface.distance import IMPLEMENTATIONS, RECORD, Distance, DistanceConfig, attached, recorded
from heed.interface.mechanism import register_attention
from heed.interface.session import configs_of, listening, lock_of, switch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_IMPLEMENTATION = "attn_implementation"
"""Written into the configuration too: transformers then refuses to load the folder under another attention."""


class HoldsModel(Protocol):
    """A `heed.Model`, or whatever else keeps its transformers model under ``hf``."""

    @property
    def hf(self) -> "PreTrainedModel":
        """The transformers model."""
        ...


def install(
    model: "PreTrainedModel | HoldsModel",
    metric: str = "l1",
    *,
    p: float | None = None,
    lam: float = 1.0,
    learnable: bool = False,
    per_head: bool = True,
    scale: Scale = "unit_variance",
    layers: Iterable[int] | None = None,
    heads: Iterable[int] | None = None,
    example: Mapping[str, Any] | None = None,
) -> DistanceConfig:
    """Let a model attend by distance from now on: ``softmax(-λ · c · dist(q, k))``.

    Everything else stays: projections, rotary positions, masks, cache, ``generate``, training. The weights of a model
    that was trained with dot products do not fit another metric: it must be trained again (`compare_perplexity` says
    how far off it is). Learned λ are parameters named ``…heed_distance.log_lambda``: install before the optimizer is
    made. ``save_pretrained`` writes them, and the options into config.json; `heed.load` and `load_distance` read them.

    Parameters
    ----------
    model
        A transformers model, or a `heed.Model`.
    metric, p
        l1, l2, sqeuclidean, lp (of the power p > 0), cosine, chebyshev, l21, linf2 or dot. Rotary positions stay
        relative under all but l1, lp and chebyshev, where absolute positions show through.
    lam, learnable, per_head
        λ > 0; ``learnable``: one parameter for each head (at most 100), or one a layer.
    scale
        c: "unit_variance", "sqrt_dim" (1/√D) or a number.
    layers, heads
        Those that attend by distance, all by default; the others keep the dot product.
    example
        Arguments of the pass that finds the layers, two tokens by default: ``{"pixel_values": torch.zeros(…)}``.

    Raises
    ------
    InputError
        If an option is out of its range, or distance attention is installed already.
    UnsupportedModelError
        If the model does not attend through transformers' interface, or caps its scores.
    """
    config = DistanceConfig(
        metric=metric,
        p=p,
        lam=lam,
        learnable=learnable,
        per_head=per_head,
        scale=scale,
        layers=_indices("layers", layers),
        heads=_indices("heads", heads),
    )
    hf = hf_of(model)
    if any(attached(module) for module in hf.modules()) or recorded(hf.config) is not None:
        raise InputError(
            f"expected a model without distance attention, found {recorded(hf.config)}: call heed.uninstall first"
        )
    _attach(hf, config, example)
    _forget_fingerprint(model)
    return config


def _indices(name: str, chosen: Iterable[int] | None) -> tuple[int, ...] | None:
    if chosen is None:
        return None
    if not isinstance(chosen, Iterable):
        raise InputError(f"{name}: expected whole numbers such as [0, 1], or None for all, found {chosen!r}")
    return tuple(chosen)


def uninstall(model: "PreTrainedModel | HoldsModel") -> None:
    """Put a model back as it was before `install`; learned λ are lost. A model without it stays as it is."""
    hf = hf_of(model)
    with lock_of(hf):
        before = {id(module.config): found.before for module, found in _attached(hf)}
        first = next(iter(before.values()), None)
        parts = [*configs_of(hf), *_parts_that_attend(hf)]
        for module, _ in _attached(hf):
            delattr(module, RECORD)
        for part in parts:
            if vars(part).pop(RECORD, None) is not None:
                vars(part).pop(_IMPLEMENTATION, None)
                switch([(part, before.get(id(part), first) or hf.get_correct_attn_implementation(None))])
    _forget_fingerprint(model)


def load_distance(
    model: "PreTrainedModel | HoldsModel", folder: Path | str, *, example: Mapping[str, Any] | None = None
) -> DistanceConfig:
    """Bring back what `save_pretrained` wrote into a folder: the options, and the learned λ.

    `heed.load(folder)` does all of it. With transformers alone: `heed.register_attention()`, then ``from_pretrained``
    of the class wanted (it drops the λ and says so), then this. ``example``: as for `install`.

    Raises
    ------
    InputError
        If the configuration of the model records no distance attention, or the folder lacks a λ.
    UnsupportedModelError
        As for `install`.
    """
    hf = hf_of(model)
    config = recorded(hf.config)
    if config is None:
        raise InputError(
            f"expected a model saved after heed.install, found none recorded in {type(hf).__name__}: call heed.install"
        )
    if not any(attached(module) for module in hf.modules()):
        _attach(hf, config, example)
    if config.learnable:
        _restore(hf, Path(folder))
    _forget_fingerprint(model)
    return config


def _attach(hf: "PreTrainedModel", config: DistanceConfig, example: Mapping[str, Any] | None) -> None:
    """Hang a `Distance` on every attention module, then record and name it in their configurations."""
    register_attention()
    with lock_of(hf):
        heads = _attention_modules(hf, example)
        outside = [index for index in config.layers or () if index >= len(heads)]
        if outside:
            raise InputError(f"layers: expected numbers below {len(heads)}, found {outside}")
        made = {
            module: Distance(
                config if config.layers is None or index in config.layers else DistanceConfig(metric="dot"),
                heads[module],
                implementation=config.implementation,
                before=None if hasattr(module.config, RECORD) else module.config._attn_implementation,
                device=next((parameter.device for parameter in module.parameters()), hf.device),
            )
            for index, module in enumerate(heads)
        }
        for module, distance in made.items():
            module.add_module(RECORD, distance)
        for part in _parts_that_attend(hf):
            setattr(part, RECORD, config.to_dict())
            setattr(part, _IMPLEMENTATION, config.implementation)
            switch([(part, config.implementation)])


def _attention_modules(hf: "PreTrainedModel", example: Mapping[str, Any] | None) -> dict[Any, int]:
    """The modules that attend, in the order they run, and how many query heads each has."""
    heads: dict[Any, int] = {}

    def observe(call: Call) -> None:
        if isinstance(call.terms.rule, DotScore) and call.terms.rule.softcap is not None:
            raise UnsupportedModelError(
                f"expected scores without a cap, found softcap in {type(call.module).__name__}: "
                "distance attention has none; use a model without it"
            )
        heads[call.module] = call.q.shape[1]

    training = [module for module in hf.modules() if module.training]
    hf.eval()  # type: ignore[no-untyped-call]
    try:
        with torch.no_grad(), _without_record(hf), listening(hf, observe, modules=frozenset(hf.modules())):
            hf(**(_two_tokens(hf) if example is None else example))
    finally:
        for module in training:
            module.training = True
    if not heads:
        raise UnsupportedModelError(
            f"expected attention through transformers' AttentionInterface, found none in {type(hf).__name__}"
        )
    return heads


def _two_tokens(hf: "PreTrainedModel") -> dict[str, Tensor]:
    if hf.main_input_name != "input_ids":
        raise InputError(
            f"expected a model of text, found one of {hf.main_input_name}: give example={{{hf.main_input_name!r}: …}}"
        )
    ids = torch.zeros(1, 2, dtype=torch.int64, device=hf.device)
    return {"input_ids": ids, "decoder_input_ids": ids} if hf.config.is_encoder_decoder else {"input_ids": ids}


@contextmanager
def _without_record(hf: "PreTrainedModel") -> Iterator[None]:
    """The model with dot products, for the pass that finds its layers before anything hangs on them."""
    records = [(part, part._attn_implementation, vars(part).pop(RECORD, None)) for part in configs_of(hf)]
    held = [(part, name) for part, name, record in records if record is not None or name in IMPLEMENTATIONS]
    switch((part, hf.get_correct_attn_implementation(None)) for part, _ in held)
    try:
        yield
    finally:
        switch(held)
        for part, _, record in records:
            if record is not None:
                setattr(part, RECORD, record)


def _restore(hf: "PreTrainedModel", folder: Path) -> None:
    """Copy the learned λ out of the folder's safetensors files; all of them, or none."""
    from safetensors import safe_open

    prefix = f"{hf.base_model_prefix}."
    wanted = {
        f"{name}.log_lambda".removeprefix(prefix): module.log_lambda
        for name, module in hf.named_modules()
        if isinstance(module, Distance) and module.log_lambda is not None
    }
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            named = {name.removeprefix(prefix): name for name in file.keys()}  # noqa: SIM118 - not a dict
            found |= {short: file.get_tensor(named[short]) for short in wanted.keys() & named.keys()}
    wrong = sorted(name for name in wanted if name not in found or found[name].shape != wanted[name].shape)
    if wrong:
        raise InputError(
            f"expected the λ of every layer in {folder}, found none that fits {wrong[0]} ({len(wrong)} in all): "
            "give the folder that save_pretrained wrote"
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])


def _parts_that_attend(hf: "PreTrainedModel") -> list[Any]:
    """The configurations that the modules with something attached look at; the whole's too where it has no parts."""
    parts = [module.config for module, _ in _attached(hf)]
    if not hf.config.sub_configs:
        parts.append(hf.config)
    return list({id(part): part for part in parts}.values())


def _attached(hf: "PreTrainedModel") -> list[tuple[Any, Distance]]:
    return [(module, found) for module in hf.modules() if (found := attached(module)) is not None]


def hf_of(model: Any) -> "PreTrainedModel":
    """The transformers model itself."""
    from transformers import PreTrainedModel

    hf = getattr(model, "hf", model)
    if not isinstance(hf, PreTrainedModel):
        raise InputError(f"expected a transformers model or a heed.Model, found {type(model).__name__}")
    return hf


def _forget_fingerprint(model: Any) -> None:
    """A heed.Model computes its fingerprint once; the mechanism is part of it."""
    if getattr(model, "hf", None) is not None:
        vars(model).pop("fingerprint", None)
