"""What a model's layer says when it attends: one `Call`, read from the arguments of the attention interface.

A layer hands over its scale, cap, window, sink and bias with each call; nothing is derived again from the
configuration. An argument that is not known to leave the scores alone is refused: ignoring it would make a
wrong reading look like a right one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heed.attention.mask import Mask
from heed.attention.score import DotScore, Rule
from heed.attention.terms import Terms
from heed.errors import UnsupportedModelError

_SCORE_ARGUMENTS = frozenset(
    {"scaling", "softcap", "s_aux", "sinks", "position_bias", "sliding_window", "is_causal", "dropout"}
)
_HARMLESS_ARGUMENTS = frozenset(
    {
        "cache_position",
        "deterministic",
        "head_mask",
        "layer_idx",
        "logits_to_keep",
        "num_items_in_batch",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "past_key_values",
        "position_embeddings",
        "position_ids",
        "return_dict",
        "token_type_ids",
        "use_cache",
    }
)
"""Arguments that reach the attention function without changing scores: bookkeeping, or used before the call."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One attention call of one module: q and k as they are scored (after RoPE and norms), and the terms.

    ``lse`` is None where the kernel did not give it.
    """

    module: nn.Module
    q: Float[Tensor, "B H Q D"]
    k: Float[Tensor, "B K T D"]
    terms: Terms
    lse: Float[Tensor, "B H Q"] | None = None


def known_arguments(module: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call that are not None.

    Raises
    ------
    UnsupportedModelError
        If one of them may change scores in a way heed does not know.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    name = type(module).__name__
    unknown = sorted(given.keys() - _SCORE_ARGUMENTS - _HARMLESS_ARGUMENTS)
    if unknown:
        raise UnsupportedModelError(
            f"expected only attention arguments heed knows, found {', '.join(unknown)} from {name}: "
            "its scores cannot be read exactly"
        )
    if given.get("head_mask") is not None:
        raise UnsupportedModelError(f"expected no head_mask, found one from {name}: call the model without it")
    return given


def read_terms(
    module: nn.Module,
    q: Tensor,
    k: Tensor,
    mask: object,
    arguments: Mapping[str, Any],
    *,
    rule: Rule | None = None,
) -> Terms:
    """The score formula of a call; the ``rule`` is the dot product's where none is given.

    Raises
    ------
    UnsupportedModelError
        If the call carries an argument that may change scores in a way heed does not know.
    """
    given = known_arguments(module, arguments)
    if given.get("dropout", 0.0) > 0.0:
        name = type(module).__name__
        raise UnsupportedModelError(f"expected a model in eval mode, found dropout in {name}: call model.eval()")
    scale = given.get("scaling", q.shape[-1] ** -0.5)
    sink = given.get("s_aux", given.get("sinks"))
    rule = rule or DotScore(float(scale), given.get("softcap"))
    known, extra = _as_mask(module, q, k, mask, given.get("is_causal"))
    bias = given.get("position_bias")
    if extra is not None:
        bias = extra if bias is None else bias + extra
    if bias is not None and bias.shape[-1] != k.shape[2]:
        bias = bias[..., : k.shape[2]]
    return Terms(rule, known, bias, None if sink is None else sink.detach())


def _as_mask(
    module: nn.Module, q: Tensor, k: Tensor, mask: object, is_causal: bool | None
) -> tuple[Mask, Tensor | None]:
    """The mask as intervals, and the additive part of a float mask."""
    n_rows, n_keys = q.shape[2], k.shape[2]
    if isinstance(mask, Mask):
        return mask, None
    if mask is None:
        causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
        if causal and n_rows > 1:
            return Mask.causal(n_rows, n_keys, device=q.device), None
        return Mask.full(n_rows, n_keys, device=q.device), None
    if isinstance(mask, Tensor) and mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[..., :n_keys]
        if mask.dtype == torch.bool:
            return Mask.build(lambda first, count: mask[:, 0, first : first + count], n_rows), None
        shown = mask > torch.finfo(mask.dtype).min / 2
        return Mask.build(lambda first, count: shown[:, 0, first : first + count], n_rows), mask
    found = f"{tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    raise UnsupportedModelError(
        f"expected a mask that all heads share, found {found} in {type(module).__name__}: "
        "its attention cannot be read exactly"
    )
