"""heed's distance attention under its names in transformers' two registries.

A model whose ``attn_implementation`` is one of them attends by distance, in training and generation, with the cache
and the masks that transformers gives it. Registering is one explicit call and changes no model. While such a model
is read it keeps its own name: the same function hears the call, with the score rule of the distance.
"""

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from heed.attention.distance.functional import Aux, distance_attention
from heed.attention.mask import Mask
from heed.errors import UnsupportedModelError
from heed.interface.call import Call, known_arguments, read_terms
from heed.interface.distance import IMPLEMENTATIONS, RECORD, Distance, DistanceConfig, attached
from heed.interface.names import interval_mask
from heed.interface.seen import HandedOn, Seen, last_row, seen
from heed.interface.session import StopForward, active, wants_weights


@cache
def register_attention() -> None:
    """Make ``attn_implementation="heed_l1"`` and the other names known to transformers.

    The names are heed_l1, heed_l2, heed_sqeuclidean, heed_cosine, heed_chebyshev, heed_l21, heed_linf2, heed_dot and
    heed_lp (which `heed.install` alone can give its p). By name alone λ is 1 and the scale "unit_variance", and
    ``save_pretrained`` records nothing, as with any name of transformers; `heed.install` records what it attaches.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    for name in IMPLEMENTATIONS:
        AttentionInterface.register(name, partial(attention, implementation=name))
        AttentionMaskInterface.register(name, mask)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: object,
    *,
    implementation: str,
    **arguments: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend by distance; the output is ``[B, Q, H, E]``, as the interface wants it.

    The weights ``[B, H, Q, T]`` are given where ``output_attentions`` asks for them, without dropout.

    Raises
    ------
    UnsupportedModelError
        If the layer caps its scores, hands over an argument heed does not know, or lacks the λ that its configuration
        records.
    """
    distance = _distance_of(module, implementation, query.shape[1])
    given = known_arguments(module, arguments)
    if given.get("softcap") is not None:
        raise UnsupportedModelError(
            f"expected scores without a cap, found softcap in {type(module).__name__}: distance attention has none; "
            "use a model without it"
        )
    scaling = float(given.get("scaling", query.shape[-1] ** -0.5))
    session = active()
    heard = session is not None and session.hears(module)
    rule = distance.rule(scaling, query.shape[-1], query.shape[1]) if heard else None
    terms = read_terms(module, query, key, attention_mask, arguments, rule=rule) if heard else None
    if session is not None and terms is not None and session.last is module:
        session.observe(Call(module, query, key, terms))
        raise StopForward
    visible = _biased(_seen(module, query, key, attention_mask, given), given.get("position_bias"), key.shape[2])
    wanted = _wanted(given, heard=heard)
    dropout = float(given.get("dropout", 0.0))
    out, aux = _attend(distance, query, key, value, visible, scaling=scaling, dropout=dropout, wanted=wanted)
    out, aux = _with_sink(out, aux, given.get("s_aux", given.get("sinks")))
    if session is not None and terms is not None:
        session.observe(Call(module, query, key, terms, aux.lse))
    return out.transpose(1, 2).contiguous(), aux.weights


def mask(**described: Any) -> Mask | Tensor | None:
    """The mask as row intervals; of a single row that does not see everything, as a plain tensor.

    Under torch.compile it is the dense one of transformers: which rows see what cannot be looked at while tracing.
    """
    from transformers.masking_utils import sdpa_mask

    given = described.get("attention_mask")
    if isinstance(given, HandedOn):
        return given
    if torch.compiler.is_compiling():
        dense: Tensor | None = sdpa_mask(**described)
        return dense
    known = interval_mask(**described)
    if active() is not None:
        return known
    return last_row(known) if known.start.shape[1] == 1 and known.shape != "full" else HandedOn.of(known)


@cache
def _by_name(implementation: str, heads: int) -> Distance:
    return Distance(DistanceConfig(metric=IMPLEMENTATIONS[implementation]), heads, implementation=implementation)


def _distance_of(module: nn.Module, implementation: str, heads: int) -> Distance:
    """What is attached to the module, else what the name alone says."""
    found = attached(module)
    if found is not None and found.implementation == implementation:
        return found
    name = type(module).__name__
    if found is not None:
        raise UnsupportedModelError(
            f"expected {found.implementation}, which is installed in {name}, found {implementation}: "
            "call heed.uninstall(model) before setting another"
        )
    if getattr(getattr(module, "config", None), RECORD, None) is not None:
        raise UnsupportedModelError(
            f"expected the distance attention that the configuration records in {name}, found none attached: "
            "call heed.load_distance(model, folder), or load the folder with heed.load(folder)"
        )
    return _by_name(implementation, heads)


def _seen(module: nn.Module, q: Tensor, k: Tensor, mask: object, given: dict[str, Any]) -> Seen:
    """What each row sees, of a mask of heed's own or one that the caller of the model made."""
    n_rows, n_keys = q.shape[2], k.shape[2]
    if isinstance(mask, Mask):
        return seen(mask)
    if mask is None:
        causal = given.get("is_causal", getattr(module, "is_causal", True))
        return Seen(is_causal=True, q_offset=0) if causal and n_rows > 1 else Seen()
    if isinstance(mask, Tensor) and mask.ndim == 4 and (mask.dtype == torch.bool or mask.is_floating_point()):
        return Seen(attn_mask=mask[..., :n_keys])
    found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    raise UnsupportedModelError(
        f"expected a mask [B, 1, Q, T] of bool or floats, found {found} in {type(module).__name__}: "
        "give the model a mask of 0 and 1, [B, T], or one of four axes"
    )


def _biased(visible: Seen, bias: Tensor | None, n_keys: int) -> Seen:
    """With the position bias of a layer (T5) added to the scores."""
    if bias is None:
        return visible
    bias, mask = bias[..., :n_keys], visible.attn_mask
    if mask is not None:
        bias = bias.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else bias + mask
    return visible._replace(attn_mask=bias)


def _wanted(given: dict[str, Any], *, heard: bool) -> frozenset[str]:
    """What is needed beside the output."""
    lse = heard or given.get("s_aux", given.get("sinks")) is not None
    weights = wants_weights() or given.get("output_attentions", False)
    return frozenset(name for name, needed in (("lse", lse), ("weights", weights)) if needed)


def _attend(
    distance: Distance,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Seen,
    *,
    scaling: float,
    dropout: float,
    wanted: frozenset[str],
) -> tuple[Tensor, Aux]:
    """Output ``[B, H, Q, E]``; heads that were not chosen keep the dot product."""
    options = distance.options(scaling)
    if distance.config.heads is None:
        return _call(q, k, v, visible, dropout=dropout, wanted=wanted, **options)
    group, parts = q.shape[1] // k.shape[1], []
    hows = (options, {"metric": "dot", "scale": scaling})
    for some, how in zip(distance.head_groups, hows, strict=False):  # every head may be chosen
        theirs = [head // group for head in some]
        mask = visible.attn_mask
        shown = visible if mask is None or mask.shape[1] == 1 else visible._replace(attn_mask=mask[:, some])
        parts.append(_call(q[:, some], k[:, theirs], v[:, theirs], shown, dropout=dropout, wanted=wanted, **how))
    order = torch.tensor([head for some in distance.head_groups for head in some], device=q.device).argsort()
    joined = {name: torch.cat([getattr(aux, name) for _, aux in parts], 1)[:, order] for name in wanted}
    return torch.cat([out for out, _ in parts], 1)[:, order], Aux(**joined)


def _call(
    q: Tensor, k: Tensor, v: Tensor, visible: Seen, *, dropout: float, wanted: frozenset[str], **options: Any
) -> tuple[Tensor, Aux]:
    """`distance_attention`, on the device of q and for the batch of q."""
    device, key_mask, attn_mask = q.device, visible.key_mask, visible.attn_mask
    result = distance_attention(
        q,
        k,
        v,
        is_causal=visible.is_causal,
        q_offset=visible.q_offset,
        window=visible.window,
        key_mask=None if key_mask is None else key_mask.to(device).expand(q.shape[0], -1),
        attn_mask=None if attn_mask is None else attn_mask.to(device),
        dropout_p=dropout,
        enable_gqa=True,
        return_aux=wanted,
        **options,
    )
    return (result, Aux()) if isinstance(result, Tensor) else result


def _with_sink(out: Tensor, aux: Aux, sink: Tensor | None) -> tuple[Tensor, Aux]:
    """Fold a learned logit per head that takes probability and gives it to no key (gpt-oss) into the denominator."""
    if sink is None:
        return out, aux
    assert aux.lse is not None
    own = sink.float().view(1, -1, 1)
    share = (aux.lse - own).sigmoid()[..., None]
    weights = None if aux.weights is None else aux.weights * share
    return out * share.to(out.dtype), aux._replace(lse=torch.logaddexp(aux.lse, own), weights=weights)
