"""Distance attention on CUDA through Triton, and on the CPU through Triton's interpreter (for tests).

What was run: every kernel through the interpreter (``TRITON_INTERPRET=1``), against the reference. What was not:
no GPU was at hand, so nothing ran or was timed on one; the kernels were compiled for sm_80 and sm_90. Sums are
fp32 (fp64 for fp64) whatever the dtype of the tensors; fp32 matrix products are made of three TF32 products each
(``tf32x3``), which should come near fp32's own error: that, too, only a GPU can show.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from heed.attention.distance.call import Call, Forward, Grads, Rows
from heed.errors import InputError

_TILES = ((256, (64, 32, 8)), (1024, (16, 16, 4)))
"""Bytes of one row of a tile, at most; and rows, keys and warps that such tiles leave room for in shared memory."""

_ACCUMULATORS = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


@dataclass(frozen=True, slots=True)
class TritonStatus:
    """Whether this path can run here, whether through the interpreter, and why or why not."""

    available: bool
    interpreted: bool
    reason: str


@cache
def status() -> TritonStatus:
    """Say whether Triton is installed and has a device, or its interpreter, to run on."""
    try:
        kernels = _kernels()
    except ImportError as error:
        return TritonStatus(False, False, f"Triton cannot be imported ({error}): pip install 'heed[triton]'")
    if type(kernels.forward).__name__ == "InterpretedFunction":
        return TritonStatus(True, True, "Triton's interpreter (TRITON_INTERPRET), for tests: exact and slow")
    if not torch.cuda.is_available():
        return TritonStatus(False, False, "Triton is installed, but torch sees no CUDA device")
    return TritonStatus(True, False, f"Triton on {torch.cuda.get_device_name()}")


def obstacle(call: Call) -> str | None:
    """What keeps Triton from running a call here; None if it can."""
    found, where = status(), call.q.device.type
    if not found.available:
        return found.reason
    if where != ("cpu" if found.interpreted else "cuda"):
        wanted = "the CPU" if found.interpreted else "a CUDA device"
        return f"expected tensors on {wanted}, found {where} ({found.reason})"
    if call.q.dtype not in _ACCUMULATORS:
        return f"expected float16, bfloat16, float32 or float64, found {call.q.dtype}"
    widest = _TILES[-1][0] // _ACCUMULATORS[call.q.dtype].itemsize
    if _tile_width(call) > widest:
        return f"expected heads of width {widest} at most in {call.q.dtype}, found {_tile_width(call)}"
    return None


def forward(call: Call) -> Forward:
    """Output and row statistics of a call; `native.forward` gives the same on the CPU.

    Raises
    ------
    InputError
        If Triton cannot run here, or not on these tensors.
    """
    batch, heads, rows, _ = _checked(call).q.shape
    real = _ACCUMULATORS[call.q.dtype]
    out = call.q.new_empty(batch, heads, rows, call.v.shape[-1], dtype=real)
    statistics = [call.q.new_empty(batch, heads, rows, dtype=real) for _ in range(5)]
    constants = _constants(call)
    grid = (_blocks(rows, constants["M"]), batch * heads)
    with _on(call.q):
        _kernels().forward[grid](*_operands(call), out, *statistics, *_settings(call), **constants)
    return Forward(out.to(call.v.dtype), *statistics)


def backward(
    call: Call,
    of_rows: Rows,
    grad_out: Float[Tensor, "B H Q E"],
    *,
    needs_strength: bool = True,
    needs_p: bool = True,
) -> Grads:
    """Gradients of q, k and v, of strength and p where they are needed; the weights are computed again.

    At a kink (equal coordinates, ties of a maximum) they are a subgradient: zero, or that of the first coordinate.
    Raises as `forward` does.
    """
    (batch, heads, rows, width), (groups, keys) = _checked(call).q.shape, call.k.shape[1:3]
    real = _ACCUMULATORS[call.q.dtype]
    grad_q = call.q.new_zeros(batch, heads, width, rows, dtype=real)
    grad_k = call.k.new_zeros(batch, groups, width, keys, dtype=real)
    grad_v = torch.empty_like(call.v, dtype=real, memory_format=torch.contiguous_format)
    settings, constants = _settings(call), _constants(call)
    row_blocks, key_blocks = _blocks(rows, constants["M"]), _blocks(keys, constants["N"])
    wanted = (needs_strength, call.kernel == "lp" and needs_p)
    per_head = [call.q.new_zeros(batch, heads, row_blocks, dtype=real) if need else None for need in wanted]
    rows_given = (x.to(real).contiguous() for x in of_rows)
    given = (*_operands(call), *rows_given, grad_out.to(call.v.dtype).contiguous())
    with _on(call.q):
        _kernels().backward_queries[row_blocks, batch * heads](*given, grad_q, *per_head, *settings, **constants)
        _kernels().backward_keys[key_blocks, batch * groups](*given, grad_k, grad_v, *settings, **constants)
    of_q, of_k = (grad.transpose(-1, -2).to(call.q.dtype) for grad in (grad_q, grad_k))
    sums = (None if grad is None else grad.sum((0, 2)) for grad in per_head)
    return Grads(of_q, of_k, grad_v.to(call.v.dtype), *sums)


def _checked(call: Call) -> Call:
    if missing := obstacle(call):
        raise InputError(f'backend="triton" cannot run this: {missing}; backend="auto" takes a path that can')
    return call


def _kernels() -> ModuleType:
    return import_module("heed.attention.distance.triton_kernels")


def _on(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be that of the tensors."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _blocks(places: int, size: int) -> int:
    return -(-places // size)


def _operands(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys with the dimension before the places, so that a column of one dimension is read in one go."""
    return call.q.transpose(-1, -2).contiguous(), call.k.transpose(-1, -2).contiguous(), call.v.contiguous()


def _settings(call: Call) -> tuple[tuple[Any, ...], ...]:
    """Sizes, terms and dropout as the kernels take them."""
    kernels = _kernels()
    (_, heads, rows, width), (groups, keys) = call.q.shape, call.k.shape[1:3]
    mask = None if call.mask is None else call.mask.expand(call.q.shape[0], heads, rows, keys)
    if mask is not None and mask.dtype == torch.bool:
        mask = mask.view(torch.uint8)
    strides = (0, 0, 0, 0) if mask is None else mask.stride()
    hidden = None if call.key_mask is None else call.key_mask.contiguous().view(torch.uint8)
    strength, p, alibi = (None if x is None else x.contiguous() for x in (call.strength, call.p, call.alibi))
    terms = kernels.Terms(strength, p, mask, strides, hidden, alibi, call.q_offset, call.window)
    sizes = kernels.Sizes(heads, groups, rows, keys, width, call.v.shape[-1])
    return sizes, terms, kernels.Dropout(*_dropout(call))


def _dropout(call: Call) -> tuple[Tensor | None, int, float]:
    seed: Tensor | None = None
    if call.dropout_p:
        seed = torch.as_tensor(call.seed, dtype=torch.int64, device=call.q.device).reshape(1)
    return seed, round(call.dropout_p * 2**24), 1 / (1 - call.dropout_p)


def _tile_width(call: Call) -> int:
    """The width that a tile holds at once, a power of two: that of v, and of q and k where they are multiplied."""
    widest = max(call.v.shape[-1], call.q.shape[-1] if call.kernel == "dot" else 0, 16)
    return 1 << (widest - 1).bit_length()


def _constants(call: Call) -> dict[str, Any]:
    import triton.language as tl

    width, real = _tile_width(call), _ACCUMULATORS[call.q.dtype]
    rows, keys, warps = next(tile for limit, tile in _TILES if width * real.itemsize <= limit)
    return {
        "KIND": call.kernel,
        "CAUSAL": call.causal,
        "M": rows,
        "N": keys,
        "WIDTH": width,
        "REAL": tl.float64 if real == torch.float64 else tl.float32,
        "num_warps": warps,
    }
