"""`distance_attention`: softmax(-λ·c·dist(q, k) + bias) v, with the arguments of `scaled_dot_product_attention`."""

from collections.abc import Collection
from dataclasses import replace
from typing import Literal, NamedTuple, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from heed.attention.distance import fused, reference, sdpa
from heed.attention.distance.call import Forward, Request, directed
from heed.attention.distance.choose import Backend, Choice, choose
from heed.attention.distance.fused import Engine
from heed.attention.distance.listening import tell
from heed.attention.distance.read import Options, Scale, read
from heed.attention.metric import Metric
from heed.attention.nearest import nearest
from heed.errors import InputError


class Aux(NamedTuple):
    """What was asked for beside the output; None where it was not.

    ``weights``: after softmax, before dropout; ``lse``: logsumexp of the logits, -inf for a row that sees nothing.
    Both have gradients. ``entropy`` in nats, ``max_probability`` and ``mean_distance`` (without λ·c) have none.
    """

    weights: Float[Tensor, "B H Q T"] | None = None
    lse: Float[Tensor, "B H Q"] | None = None
    entropy: Float[Tensor, "B H Q"] | None = None
    max_probability: Float[Tensor, "B H Q"] | None = None
    mean_distance: Float[Tensor, "B H Q"] | None = None


def distance_attention(
    q: Float[Tensor, "B H Q D"],
    k: Float[Tensor, "B K T D"],
    v: Float[Tensor, "B K T E"],
    *,
    metric: str | Metric = "l1",
    p: float | Tensor | None = None,
    lam: float | Tensor = 1.0,
    scale: Scale = "unit_variance",
    attn_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    is_causal: bool = False,
    q_offset: int | None = None,
    window: int | None = None,
    alibi_slopes: Tensor | None = None,
    dropout_p: float = 0.0,
    seed: int | None = None,
    enable_gqa: bool = False,
    return_aux: Collection[str] = (),
    backend: Backend = "auto",
) -> Float[Tensor, "B H Q E"] | tuple[Float[Tensor, "B H Q E"], Aux]:
    """Attention by distance: softmax(-λ·c·dist(q, k) + bias) v in SDPA's layout; a row that sees no key is zero.

    Parameters
    ----------
    q, k, v
        Of one floating dtype and device, any strides. ``H == K``, or a multiple of it with ``enable_gqa``.
    metric, p
        A name in `heed.attention.METRICS` or a `Metric` of one's own; for "dot" the distance is -q·k. The p > 0 of
        "lp", or β of "smooth_chebyshev"; a tensor (scalar or ``[H]``) may be learned.
    lam, scale
        λ > 0 (a number, or a tensor, scalar or ``[H]``, to learn) and c: "unit_variance" (`heed.attention.scale`),
        "sqrt_dim" (the published 1/√D), or a number.
    attn_mask, key_mask
        Bool (True = may be seen) or additive, broadcastable to ``[B, H, Q, T]``; bool ``[B, T]``, True = real key.
    is_causal, q_offset, window, alibi_slopes
        Row i stands at position ``q_offset + i`` among the keys; None is ``T - Q``, the end of a cache. It sees keys
        up to there, those less than ``window`` away; ``alibi_slopes`` ``[H]`` adds -slope·|distance in positions|.
    dropout_p, seed
        Drops weights by a function of (seed, head, row, key), the same on every path; None draws it from torch.
    return_aux
        Names of `Aux` fields; the result is then ``(out, Aux)``. "weights" costs the memory of ``[B, H, Q, T]``.
    backend
        "auto" takes the fastest path that can (`explain` says which and why); a named one runs or raises.

    Raises
    ------
    InputError
        For arguments that do not fit, a named backend that cannot run them, a second derivative off "reference".
    """
    request = read(
        q, k, v, metric=metric, p=p, lam=lam, scale=scale, enable_gqa=enable_gqa, dropout_p=dropout_p, seed=seed,
        attn_mask=attn_mask, key_mask=key_mask, is_causal=is_causal, q_offset=q_offset, window=window,
        alibi_slopes=alibi_slopes,
    )  # fmt: skip
    wanted = _wanted(return_aux)
    tell(request)
    out, aux = attend(request, wanted, backend)
    return (out, aux) if wanted else out


def attend(request: Request, wanted: frozenset[str], backend: Backend = "auto") -> tuple[Tensor, Aux]:
    """What `distance_attention` does once its arguments are read; ``wanted`` names fields of `Aux`."""
    path = choose(request, backend).path
    return _by_reference(request, wanted) if path == "reference" else _fast(request, path, wanted)


def explain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    return_aux: Collection[str] = (),
    backend: Backend = "auto",
    **options: Unpack[Options],
) -> Choice:
    """Which path `distance_attention` takes for these arguments, and why; nothing is computed.

    Raises `InputError` as `distance_attention` does.
    """
    if unknown := options.keys() - Options.__annotations__.keys():
        name = min(unknown)
        raise InputError(
            f"expected arguments of distance_attention, found {name!r}{nearest(name, [*Options.__annotations__])}"
        )
    _wanted(return_aux)
    return choose(read(q, k, v, **options), backend)


def _wanted(return_aux: Collection[str]) -> frozenset[str]:
    names = [return_aux] if isinstance(return_aux, str) else return_aux
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise InputError(f"return_aux: expected names among {', '.join(Aux._fields)}, found {return_aux!r}")
    wanted = frozenset(names)
    if unknown := wanted - set(Aux._fields):
        known = ", ".join(Aux._fields)
        raise InputError(f"return_aux: expected names among {known}, found {', '.join(sorted(unknown))}")
    return wanted


def _by_reference(request: Request, wanted: frozenset[str]) -> tuple[Tensor, Aux]:
    forward, weights = reference.attend(request, weights="weights" in wanted)
    return forward.out, _aux(forward, weights, wanted)


def _fast(request: Request, path: Engine | Literal["sdpa"], wanted: frozenset[str]) -> tuple[Tensor, Aux]:
    """By a kernel. What it does not give is computed beside it and leaves the output as it is."""
    if path == "sdpa":
        out, forward = sdpa.attend(request), None
        if wanted - {"weights"}:
            forward = fused.attend(directed(_without_values(request).call), "tiled")
    else:
        forward = fused.attend(request.call if path == "fused" else directed(request.call), path)
        out = forward.out
    if forward is not None and wanted:
        forward = _shifted(request, forward)
    weights = reference.attend(_without_values(request), weights=True)[1] if "weights" in wanted else None
    return out, _aux(forward, weights, wanted)


def _without_values(request: Request) -> Request:
    call = request.call
    return replace(request, call=replace(call, v=call.v[..., :0], dropout_p=0.0, seed=None))


def _shifted(request: Request, forward: Forward) -> Forward:
    """Row values with the constant of the distance that the kernel leaves out."""
    if not request.shift:
        return forward
    mean = (forward.mean_distance + request.shift).masked_fill(forward.lse == -torch.inf, 0.0)
    return forward._replace(lse=forward.lse - request.call.strength.view(-1, 1) * request.shift, mean_distance=mean)


def _aux(forward: Forward | None, weights: Tensor | None, wanted: frozenset[str]) -> Aux:
    values: dict[str, Tensor | None] = {"weights": weights}
    if forward is not None and wanted:
        values |= {name: value.detach() for name, value in forward._asdict().items() if name != "out"}
        values["lse"] = forward.lse
    return Aux(**{name: values[name] for name in wanted})
