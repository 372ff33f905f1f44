"""Reading the arguments of `distance_attention`: what cannot be used is refused here, before any path sees it."""

import math
from numbers import Real
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor

from heed.attention.distance.call import Call, Request
from heed.attention.metric import Metric, metric_of
from heed.errors import InputError

Scale = Literal["sqrt_dim", "unit_variance"] | float
_MAX_SEED = 1 << 63
_FARTHEST = 1 << 62
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Options(TypedDict, total=False):
    """Keyword arguments of `distance_attention` that decide what is computed."""

    metric: str | Metric
    p: float | Tensor | None
    lam: float | Tensor
    scale: Scale
    attn_mask: Tensor | None
    key_mask: Tensor | None
    is_causal: bool
    q_offset: int | None
    window: int | None
    alibi_slopes: Tensor | None
    dropout_p: float
    seed: int | None
    enable_gqa: bool


def read(q: Tensor, k: Tensor, v: Tensor, **options: Unpack[Options]) -> Request:
    """The request that these arguments make.

    Raises
    ------
    InputError
        For shapes, dtypes, devices and values that do not fit, with what was expected and found.
    """
    q, k, v = _tensors(q, k, v, options.get("enable_gqa", False))
    metric = metric_of(options.get("metric", "l1"))
    if metric.paired and q.shape[-1] % 2:
        raise InputError(f"metric {metric.name!r}: expected an even head width (rotary pairs), found {q.shape[-1]}")
    p = _power(metric, options.get("p"), q)
    q_offset, window = _whole("q_offset", options.get("q_offset")), _whole("window", options.get("window"))
    if window is not None and window < 1:
        raise InputError(f"window: expected at least 1 (each row sees itself), found {window!r}")
    call = Call(
        q,
        k,
        v,
        metric.kernel or "",
        _strength(options.get("lam", 1.0), options.get("scale", "unit_variance"), metric, p, q),
        p=None if p is None else _per_head("p", p, q),
        mask=_mask(options.get("attn_mask"), q, k),
        key_mask=_key_mask(options.get("key_mask"), k),
        causal=bool(options.get("is_causal", False)),
        q_offset=k.shape[2] - q.shape[2] if q_offset is None else q_offset,
        window=window,
        alibi=_slopes(options.get("alibi_slopes"), q),
        dropout_p=_dropout(options.get("dropout_p", 0.0)),
        seed=_seed(options.get("seed"), options.get("dropout_p", 0.0)),
    )
    return Request(metric, call)


def wide_dtype(x: Tensor) -> torch.dtype:
    """The dtype of per-row and per-head values: fp32, and fp64 beside fp64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _tensors(q: Tensor, k: Tensor, v: Tensor, grouped: bool) -> tuple[Tensor, Tensor, Tensor]:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor) or x.ndim != 4:
            found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"{name}: expected a tensor [batch, heads, positions, width], found {found}")
        if not x.is_floating_point():
            raise InputError(f"{name}: expected a floating-point dtype, found {x.dtype}; convert it with .float()")
        if x.dtype not in _DTYPES:
            raise InputError(f"{name}: expected float32, float64, bfloat16 or float16, found {x.dtype}; convert it")
        if x.layout != torch.strided:
            raise InputError(f"{name}: expected a dense tensor, found {x.layout}; convert it with .to_dense()")
        if 0 in x.shape:
            raise InputError(f"{name}: expected at least one of everything, found shape {tuple(x.shape)}")
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if not q.shape[0] == k.shape[0] == v.shape[0]:
        raise InputError(f"expected one batch size for q, k and v, found {shapes}")
    if q.shape[3] != k.shape[3]:
        raise InputError(f"expected q and k of one width (their last axis), found {shapes}")
    if k.shape[1:3] != v.shape[1:3]:
        raise InputError(f"expected as many heads and positions in v as in k, found {shapes}")
    if grouped and q.shape[1] % k.shape[1]:
        raise InputError(f"enable_gqa: expected query heads to be a multiple of key heads, found {shapes}")
    if not grouped and q.shape[1] != k.shape[1]:
        raise InputError(f"expected as many heads in k as in q, found {shapes}; pass enable_gqa=True for shared keys")
    if len({x.device for x in (q, k, v)}) > 1:
        raise InputError(f"expected q, k and v on one device, found {q.device}, {k.device}, {v.device}")
    return _one_dtype(q, k, v)


def _one_dtype(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `scaled_dot_product_attention`: dtypes must agree, unless autocast says which one is meant."""
    if q.dtype == k.dtype == v.dtype:
        return q, k, v
    if not torch.is_autocast_enabled(q.device.type):
        raise InputError(f"expected one dtype for q, k and v, found {q.dtype}, {k.dtype}, {v.dtype}")
    dtype = torch.get_autocast_dtype(q.device.type)
    return q.to(dtype), k.to(dtype), v.to(dtype)


def _power(metric: Metric, p: float | Tensor | None, q: Tensor) -> float | Tensor | None:
    if not metric.needs_p:
        if p is not None:
            raise InputError(f"p: metric {metric.name!r} has no parameter p, found {p!r}; leave it out or take 'lp'")
        return None
    if p is None:
        raise InputError(f"p: metric {metric.name!r} needs p > 0, found None; for example p=3.0")
    _positive("p", p, q)
    return p if isinstance(p, Tensor) else float(p)


def _strength(lam: float | Tensor, scale: Scale, metric: Metric, p: float | Tensor | None, q: Tensor) -> Tensor:
    """λ·c of each head, above zero in the dtype of per-head values too."""
    _positive("lam", lam, q)
    factor: float | Tensor
    if scale == "sqrt_dim":
        factor = q.shape[-1] ** -0.5
    elif scale == "unit_variance":
        factor = metric.calibrated(q.shape[-1], p)
    elif _is_real(scale):
        _positive("scale", scale, q)
        factor = float(scale)
    else:
        raise InputError(f"scale: expected 'sqrt_dim', 'unit_variance' or a number > 0, found {scale!r}")
    if isinstance(lam, Tensor) or isinstance(factor, Tensor):
        strength = _per_head("lam", lam, q) * (_per_head("p", factor, q) if isinstance(factor, Tensor) else factor)
    else:
        strength = _per_head("lam", float(lam) * factor, q)
    return strength.clamp_min(torch.finfo(strength.dtype).tiny)


def _per_head(name: str, value: float | Tensor, q: Tensor) -> Tensor:
    heads = q.shape[1]
    if not isinstance(value, Tensor):
        return torch.full((heads,), float(value), dtype=wide_dtype(q), device=q.device)
    if value.ndim > 1 or value.numel() not in (1, heads):
        raise InputError(f"{name}: expected a number or one for each of {heads} heads, found {tuple(value.shape)}")
    return value.to(wide_dtype(q)).expand(heads)


def _positive(name: str, value: float | Tensor, q: Tensor) -> None:
    """λ and p are above zero and finite. The values of a tensor are looked at only where that costs no waiting."""
    if isinstance(value, Tensor):
        if not value.is_floating_point() or value.device != q.device:
            found = f"{value.dtype} on {value.device}"
            raise InputError(f"{name}: expected a floating-point tensor on {q.device}, found {found}")
        if not _readable(value) or bool(((value > 0) & value.isfinite()).all()):
            return
        raise InputError(f"{name}: expected values above 0, found {value.tolist()}; learn its logarithm to keep it so")
    if not _is_real(value) or not 0 < value < math.inf:
        raise InputError(f"{name}: expected a finite number above 0 or a tensor of them, found {value!r}")


def _is_real(value: object) -> bool:
    """A number, of NumPy too."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _readable(value: Tensor) -> bool:
    """Whether a tensor's values can be looked at here and now: on the CPU, and not under a transform of torch."""
    if value.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return not torch._C._are_functorch_transforms_active()


def _mask(mask: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    if mask is None:
        return None
    wanted = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    if not isinstance(mask, Tensor):
        raise InputError(f"attn_mask: expected a tensor, found {type(mask).__name__}")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InputError(f"attn_mask: expected bool (True = may be seen) or floats that are added, found {mask.dtype}")
    if mask.layout != torch.strided:
        raise InputError(f"attn_mask: expected a dense tensor, found {mask.layout}; convert it with .to_dense()")
    if mask.device != q.device:
        raise InputError(f"attn_mask: expected on {q.device} as q, found on {mask.device}")
    shape = (1,) * (4 - mask.ndim) + tuple(mask.shape)
    if len(shape) != 4 or any(n not in (1, size) for n, size in zip(shape, wanted, strict=True)):
        raise InputError(f"attn_mask: expected a shape that broadcasts to {wanted}, found {tuple(mask.shape)}")
    mask = mask.reshape(shape)
    return mask if mask.dtype == torch.bool else mask.to(wide_dtype(q))


def _key_mask(mask: Tensor | None, k: Tensor) -> Tensor | None:
    if mask is None:
        return None
    wanted = (k.shape[0], k.shape[2])
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != wanted:
        found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"key_mask: expected bool {wanted} with True for real keys, found {found}")
    if mask.device != k.device:
        raise InputError(f"key_mask: expected on {k.device} as k, found on {mask.device}")
    return mask


def _slopes(slopes: Tensor | None, q: Tensor) -> Tensor | None:
    if slopes is None:
        return None
    if not isinstance(slopes, Tensor) or tuple(slopes.shape) != (q.shape[1],) or not slopes.is_floating_point():
        found = f"{slopes.dtype} {tuple(slopes.shape)}" if isinstance(slopes, Tensor) else type(slopes).__name__
        raise InputError(f"alibi_slopes: expected one float for each of {q.shape[1]} heads, found {found}")
    if slopes.device != q.device:
        raise InputError(f"alibi_slopes: expected on {q.device} as q, found on {slopes.device}")
    return slopes.to(wide_dtype(q))


def _whole(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | torch.SymInt)):
        raise InputError(f"{name}: expected a whole number of positions or None, found {value!r}")
    if type(value) is int and not -_FARTHEST < value < _FARTHEST:
        raise InputError(f"{name}: expected a number of positions below 2^62, found {value}")
    return value


def _dropout(dropout_p: float) -> float:
    if not _is_real(dropout_p) or not 0 <= dropout_p < 1:
        raise InputError(f"dropout_p: expected a number from 0 to below 1, found {dropout_p!r}")
    return float(dropout_p)


def _seed(seed: int | None, dropout_p: float) -> int | Tensor | None:
    if dropout_p == 0:
        return None
    if seed is None:
        return torch.randint(_MAX_SEED - 1, (), device="cpu")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _MAX_SEED:
        raise InputError(f"seed: expected an integer from 0 to 2^63 - 1, found {seed!r}")
    return seed
