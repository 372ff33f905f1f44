"""Dot-product attention at the speed of the fused kernel, with the logsumexp of each row where it gives one.

On the CPU the kernel behind ``scaled_dot_product_attention`` also returns the row logsumexp, through a
private torch operator. It is checked once against plain torch and used only if it agrees; otherwise, and on
other devices, the public function runs and leaves the logsumexp out (a view computes it for the rows it is
asked for). `lse_source` says what is in use and why. Nothing of size Q×T is kept: a mask that the kernel does
not know is handed over for one stretch of rows at a time, cut to the keys those rows can see.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from heed.attention.mask import Mask
from heed.attention.score import DotScore
from heed.attention.terms import Terms, every_row, finite
from heed.errors import InputError

_BLOCK_ELEMENTS = 1 << 22
"""Most elements of a mask or of logits that exist at once."""

_STEP = 16
"""Keys the CPU kernel takes at a time in a 16-bit dtype."""


class Attended(NamedTuple):
    """The output ``[B, H, Q, E]`` and, where the path gives it, the fp32 logsumexp ``[B, H, Q]`` of each row."""

    out: Tensor
    lse: Tensor | None


@dataclass(frozen=True, slots=True)
class LseSource:
    """Whether the fused kernel returns row logsumexps here, and why or why not."""

    fused: bool
    reason: str


@cache
def lse_source() -> LseSource:
    """Check once whether the private CPU operator exists and agrees with plain torch."""
    name = f"_scaled_dot_product_flash_attention_for_cpu of torch {torch.__version__}"
    generator = torch.Generator("cpu").manual_seed(0)
    q, k, v = (
        torch.randn(1, heads, 7, 8, generator=generator, dtype=torch.float32, device="cpu") for heads in (4, 2, 2)
    )
    terms = Terms(DotScore(0.3), Mask.causal(7, 7))
    logits = terms.logits(q, k, every_row(7), slice(0, 7))
    with torch.autocast("cpu", enabled=False):
        wanted = logits.softmax(-1) @ v.repeat_interleave(2, 1)
    hidden = torch.zeros_like(logits[:, :1]).masked_fill(logits[:, :1] == -torch.inf, -torch.inf)
    worst = 0.0
    for causal, mask in ((True, None), (False, hidden)):
        try:
            out, lse = _flash_cpu(q, k, v, scale=0.3, causal=causal, mask=mask)
        except (AttributeError, RuntimeError, TypeError) as error:
            return LseSource(False, f"{name} cannot be called: {error}")
        worst = max(worst, float((out - wanted).abs().max()), float((lse - logits.logsumexp(-1)).abs().max()))
    agrees = worst <= 1e-5
    return LseSource(agrees, f"{name} {'agrees with' if agrees else 'differs from'} plain torch: {worst:.1e}")


def attend(
    q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"], v: Float[Tensor, "B K T E"], terms: Terms
) -> Attended:
    """Weighted sum of values in the dtype of q; never a Q×T matrix.

    Raises
    ------
    InputError
        If the score rule is not the dot product's.
    """
    if not isinstance(terms.rule, DotScore):
        raise InputError(f"expected the score rule of a dot product, found {terms.rule}: use distance_attention")
    if terms.rule.softcap is not None:
        attended = _capped(q, k, v, terms)
    else:
        attended = _fused(*_same_width(q, k, v), terms, terms.rule.scale)
        attended = Attended(attended.out[..., : v.shape[-1]], attended.lse)
    return attended if terms.sink is None else _with_sink(attended, q, k, terms)


def row_lse(q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"], terms: Terms) -> Float[Tensor, "B H Q"]:
    """Logsumexp of every row in plain torch, a stretch of rows at a time: one more pass over q·k."""
    parts = [
        terms.lse(q[:, :, rows], k, every_row(q.shape[2], q.device)[:, rows])
        for rows in _stretches(q.shape[2], q.shape[0] * q.shape[1] * k.shape[2])
    ]
    return torch.cat(parts, 2)


def _stretches(n_rows: int, row_elements: int) -> list[slice]:
    step = max(1, _BLOCK_ELEMENTS // max(1, row_elements))
    return [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]


def _joined(parts: list[Attended]) -> Attended:
    if len(parts) == 1:
        return parts[0]
    lses = [part.lse for part in parts if part.lse is not None]
    return Attended(torch.cat([part.out for part in parts], 2), torch.cat(lses, 2) if lses else None)


def _fused(q: Tensor, k: Tensor, v: Tensor, terms: Terms, scale: float) -> Attended:
    """One kernel call where it knows the mask's shape, else one for each stretch of rows."""
    mask = terms.mask
    if mask.shape != "general" and terms.bias is None:
        return _kernel(q, k, v, scale=scale, causal=mask.shape == "causal", mask=None)
    parts = []
    for rows in _stretches(q.shape[2], k.shape[2]):
        keys = mask.reach(rows)
        if keys.start == keys.stop:
            keys = slice(0, 1)
        added = _additive(terms, rows, keys, q)
        parts.append(_kernel(q[:, :, rows], k[:, :, keys], v[:, :, keys], scale=scale, causal=False, mask=added))
    return _joined(parts)


def _additive(terms: Terms, rows: slice, keys: slice, q: Tensor) -> Float[Tensor, "b h q t"] | None:
    """Mask and bias of a stretch as the additive mask a kernel takes; None where it would be all zeros."""
    index = torch.arange(rows.start, rows.stop, device=q.device)[None]
    hidden = ~terms.mask.visible(index, keys)[:, None]
    if terms.bias is not None:
        return terms.bias[:, :, rows, keys].to(q.dtype).masked_fill(hidden, -torch.inf)
    if not bool(hidden.any()):
        return None
    return torch.zeros(hidden.shape, dtype=q.dtype, device=q.device).masked_fill_(hidden, -torch.inf)


def _kernel(q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, mask: Tensor | None) -> Attended:
    if q.device.type == "cpu" and lse_source().fused:
        return _evenly(q, k, v, scale=scale, causal=causal, mask=mask)
    gqa = q.shape[1] != k.shape[1]
    out = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=gqa
    )
    if mask is not None:
        out = out.masked_fill((mask == -torch.inf).all(-1, keepdim=True), 0.0)
    return Attended(out, None)


def _evenly(q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, mask: Tensor | None) -> Attended:
    """The CPU kernel on lengths padded to its step, so that a row's rounding does not depend on its neighbours.

    In a 16-bit dtype the kernel rounds the last, uneven step of keys differently: a prompt would read slightly
    differently alone than beside a longer one (measured: shares of a head off by up to 0.04 after 30 layers).
    """
    n_rows, n_keys = q.shape[2], k.shape[2]
    rows, keys = -n_rows % _STEP, -n_keys % _STEP
    if q.element_size() > 2 or not (rows or keys):
        return Attended(*_flash_cpu(q, k, v, scale=scale, causal=causal, mask=mask))
    q, k, v = (functional.pad(x, (0, 0, 0, more)) for x, more in ((q, rows), (k, keys), (v, keys)))
    if mask is None and not causal:
        mask = q.new_zeros(1, 1, 1, n_keys)
    if mask is not None:
        mask = functional.pad(mask, (0, keys), value=-torch.inf)
        mask = mask if mask.shape[2] == 1 else functional.pad(mask, (0, 0, 0, rows))
    out, lse = _flash_cpu(q, k, v, scale=scale, causal=causal, mask=mask)
    return Attended(out[:, :, :n_rows], lse[:, :, :n_rows])


def _flash_cpu(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = kernel(q, k, v, 0.0, causal, attn_mask=mask, scale=scale)
    return out, lse


def _capped(q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Attended:
    """No fused kernel knows the cap: exact fp32 rows, a stretch at a time."""
    plain = Terms(terms.rule, terms.mask, terms.bias)
    groups, values, parts = k.shape[1], v.float(), []
    for rows in _stretches(q.shape[2], q.shape[0] * q.shape[1] * k.shape[2]):
        logits = plain.logits(q[:, :, rows], k, every_row(q.shape[2], q.device)[:, rows], slice(0, k.shape[2]))
        lse = logits.logsumexp(-1)
        p = (logits - finite(lse)[..., None]).exp_()
        grouped = p.view(p.shape[0], groups, -1, k.shape[2])
        out = torch.matmul(grouped, values).view(*p.shape[:3], -1).to(q.dtype)
        parts.append(Attended(out, lse))
    return _joined(parts)


def _same_width(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zeros up to one head width, which fused kernels ask for (in multi-head latent attention v differs)."""
    width = max(q.shape[-1], v.shape[-1])
    padded = [x if x.shape[-1] == width else functional.pad(x, (0, width - x.shape[-1])) for x in (q, k, v)]
    return padded[0], padded[1], padded[2]


def _with_sink(attended: Attended, q: Tensor, k: Tensor, terms: Terms) -> Attended:
    """Fold the sink into the denominator afterwards, exactly: ``out * exp(lse_keys - lse_keys_and_sink)``."""
    keys_only = Terms(terms.rule, terms.mask, terms.bias)
    lse = attended.lse if attended.lse is not None else row_lse(q, k, keys_only)
    full = terms.with_sink(lse)
    out = attended.out * (lse - full).exp()[..., None].to(attended.out.dtype)
    return Attended(out, full)
