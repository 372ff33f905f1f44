"""Distances that are a dot product in disguise, by `torch.nn.functional.scaled_dot_product_attention`.

Softmax does not see what is constant along a row, so ``-c‖q - k‖²`` may lose ``c‖q‖²`` and is
``[2cq, c] · [k, -‖k‖²]``; ``-c(1 - cos)`` is c times a product of directions. Values are padded to the width of the
queries, without which torch leaves its fused kernel. A second derivative is refused as on every fast path: some of
torch's kernels have one, those that run on a CPU have none.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from heed.attention.distance.call import Call, Request, directed, wide
from heed.attention.distance.fused import refuse
from heed.attention.distance.tile import Tile, biased, grouped, reach, steps, visible

_STEP = 16
"""Widths that the fused kernels of torch take without a remainder."""

_MASK_ELEMENTS = 1 << 22
"""Most elements of a mask that exist at once."""


def attend(request: Request) -> Float[Tensor, "B H Q E"]:
    """Output of a dot, cosine or sqeuclidean request without dropout; never a matrix of rows by keys."""
    call = _once(directed(request.call))
    width = call.v.shape[-1]
    q, k = (_times(call.q, call.strength), call.k) if call.kernel == "dot" else _augmented(call)
    widest = max(q.shape[-1], width)
    call = replace(call, q=_padded(q, widest), k=_padded(k, widest), v=_padded(call.v, widest))
    rows, plain = call.q.shape[2], all(x is None for x in (call.mask, call.key_mask, call.window, call.alibi))
    if plain and (not call.causal or (rows == call.k.shape[2] and call.q_offset == 0)):
        return _product(call, None, causal=call.causal)[..., :width]
    step = max(1, _MASK_ELEMENTS // (call.q.shape[0] * call.q.shape[1] * call.k.shape[2]))
    return torch.cat([_stretch(call, some) for some in steps(rows, step)], 2)[..., :width]


def _times(x: Tensor, factor: Float[Tensor, " H"]) -> Tensor:
    """Scale x by one number for each head, in the dtype of x; 16 bits are rounded once."""
    return (wide(x) * factor.view(-1, 1, 1)).to(x.dtype)


class _Once(torch.autograd.Function):
    """The identity, whose gradient has no derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        last: Tensor = _Last.apply(grad)  # type: ignore[no-untyped-call]
        return last


class _Last(_Once):
    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        refuse(ctx, grad)


def _once(call: Call) -> Call:
    """The call with inputs that can be differentiated once; torch.compile refuses a second derivative by itself."""
    if torch.compiler.is_compiling():
        return call
    tensors = (call.q, call.k, call.v, call.strength)
    q, k, v, strength = (_Once.apply(x) if x.requires_grad else x for x in tensors)  # type: ignore[no-untyped-call]
    return replace(call, q=q, k=k, v=v, strength=strength)


def _augmented(call: Call) -> tuple[Tensor, Tensor]:
    """Pair [2cq, c] and [k, -‖k‖²], around the mean key so that a common offset costs no digits.

    In 16 bits c is spread over two columns and the square over three, each holding what the one before rounded away:
    six columns for all products of them. A power of two goes from the square to c, since fp16 ends at 65,504.
    """
    centre = wide(call.k).mean(2, keepdim=True).detach()
    k = wide(call.k) - centre
    q = (grouped(wide(call.q), k) - centre.unsqueeze(2)).flatten(1, 2)
    factor, square = call.strength.view(-1, 1, 1), k.square().sum(-1, keepdim=True)
    most = square.detach().amax(2, keepdim=True).clamp_min(1e-30).log2().ceil().exp2()
    of_heads = factor * most.repeat_interleave(q.shape[1] // k.shape[1], 1)
    of_q = _spread(of_heads.expand(*q.shape[:3], 1), call.q.dtype, 2)
    of_k = _spread(-square / most, call.k.dtype, 3)
    q = torch.cat([(2 * factor * q).to(call.q.dtype), *(x for x in of_q for _ in of_k)], -1)
    k = torch.cat([k.to(call.k.dtype), *(x for _ in of_q for x in of_k)], -1)
    width = -(-q.shape[-1] // _STEP) * _STEP
    return _padded(q, width), _padded(k, width)


def _spread(x: Tensor, dtype: torch.dtype, pieces: int) -> list[Tensor]:
    """Tensors of a dtype that add up to x: one, or in 16 bits ``pieces``."""
    found: list[Tensor] = []
    for _ in range(1 if dtype.itemsize >= 4 else pieces):
        found.append(x.to(dtype))
        x = x - found[-1]
    return found


def _padded(x: Tensor, width: int) -> Tensor:
    return x if x.shape[-1] == width else functional.pad(x, (0, width - x.shape[-1]))


def _stretch(call: Call, rows: slice) -> Tensor:
    """Some rows with their mask, on the keys they can reach."""
    tile = Tile(rows, reach(call, rows))
    mask = visible(call, tile)
    if call.alibi is not None or (call.mask is not None and call.mask.dtype != torch.bool):
        mask = biased(call, wide(call.q.new_zeros(1, 1, 1, 1)), tile).to(call.q.dtype)
    part = replace(call, q=call.q[:, :, rows], k=call.k[:, :, tile.keys], v=call.v[:, :, tile.keys])
    return _product(part, mask, causal=False)


def _product(call: Call, mask: Tensor | None, *, causal: bool) -> Tensor:
    grouped_keys = call.q.shape[1] != call.k.shape[1]
    return functional.scaled_dot_product_attention(
        call.q, call.k, call.v, mask, is_causal=causal, scale=1.0, enable_gqa=grouped_keys
    )
