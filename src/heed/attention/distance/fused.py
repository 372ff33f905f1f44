"""The kernels as opaque operators of torch: ``heed::distance_forward`` and ``distance_backward``.

torch.compile and autograd see one operator each way; which engine runs inside is an argument: the native CPU kernel,
Triton, or tiles of plain torch. An engine is a module with ``forward(call)`` and
``backward(call, rows, grad_out, needs_strength=..., needs_p=...)`` on plain tensors.
"""

import math
from importlib import import_module
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from heed.attention.distance.call import Call, Forward, Rows, wide
from heed.errors import InputError

Engine = Literal["fused", "triton", "tiled"]

_HOMES = {"fused": "native", "triton": "triton_path", "tiled": "tiled"}
_CALL = (
    "Tensor q, Tensor k, Tensor v, Tensor strength, Tensor? p, str engine, str kernel, Tensor? mask, Tensor? key_mask, "
    "bool causal, SymInt q_offset, SymInt? window, Tensor? alibi, float dropout_p, Tensor? seed"
)
_TENSORS = 5
"""The first arguments, those that have a gradient."""

_INPUTS = 15
"""What `_CALL` declares."""


def attend(call: Call, engine: Engine) -> Forward:
    """Output and row statistics by an engine; ``out`` and ``lse`` have a first derivative."""
    return Forward(*torch.ops.heed.distance_forward(*_inputs(call, engine)))


def _inputs(call: Call, engine: Engine) -> tuple[Any, ...]:
    seed = torch.tensor(call.seed, device="cpu") if isinstance(call.seed, int) else call.seed
    where = (call.mask, call.key_mask, call.causal, call.q_offset, call.window, call.alibi)
    return (call.q, call.k, call.v, call.strength, call.p, engine, call.kernel, *where, call.dropout_p, seed)


def _call(*inputs: Any) -> Call:
    q, k, v, strength, p, _, kernel, *where, seed = inputs[:_INPUTS]
    mask, key_mask, causal, q_offset, window, alibi, dropout_p = where
    seed = None if seed is None else int(seed)
    return Call(q, k, v, kernel, strength, p, mask, key_mask, causal, q_offset, window, alibi, dropout_p, seed)


def _engine(name: str) -> Any:
    return import_module(f"heed.attention.distance.{_HOMES[name]}")


def _forward(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(_engine(inputs[_TENSORS]).forward(_call(*inputs)))


def _backward(*inputs: Any) -> tuple[Tensor, ...]:
    out, max_probability, mean_distance, highest, grad_out, grad_lse, needs_strength, needs_p = inputs[_INPUTS:]
    call, delta = _call(*inputs), (wide(out) * wide(grad_out)).sum(-1) - grad_lse
    rows, backward = Rows(max_probability, mean_distance, highest, delta), _engine(inputs[_TENSORS]).backward
    grads = backward(call, rows, grad_out, needs_strength=needs_strength or needs_p, needs_p=needs_p)
    q, k, v, strength, p = grads
    if strength is not None:
        strength = strength - (grad_lse * mean_distance).sum((0, 2))
    if p is not None and call.p is not None:
        p = p - math.log(call.q.shape[3]) / call.p**2 * call.strength * strength
    nothing = delta.new_empty(0)
    return q, k, v, strength if needs_strength else nothing, nothing if p is None else p


def _forward_shapes(*inputs: Any) -> tuple[Tensor, ...]:
    q, v = inputs[0], inputs[2]
    rows = [wide(q.new_empty(0)).new_empty(q.shape[:3]) for _ in range(5)]
    return v.new_empty(*q.shape[:3], v.shape[-1]), *rows


def _backward_shapes(*inputs: Any) -> tuple[Tensor, ...]:
    *places, strength, p = inputs[:_TENSORS]
    grads = [x.new_empty(x.shape) for x in places]
    wanted = zip((strength, p), inputs[-2:], strict=True)
    return *grads, *(torch.empty_like(x) if needed else strength.new_empty(0) for x, needed in wanted)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.plain = [None if isinstance(x, Tensor) else x for x in inputs]
    ctx.places = [place for place, x in enumerate(inputs) if isinstance(x, Tensor)]
    ctx.save_for_backward(*(inputs[place] for place in ctx.places), output[0], *output[3:])


def _differentiate(ctx: Any, grad_out: Tensor, grad_lse: Tensor, *unused: Tensor) -> tuple[Any, ...]:
    *tensors, out, max_probability, mean_distance, highest = ctx.saved_tensors
    inputs = list(ctx.plain)
    for place, tensor in zip(ctx.places, tensors, strict=True):
        inputs[place] = tensor
    needed = ctx.needs_input_grad[:_TENSORS]
    rows = (out, max_probability, mean_distance, highest, grad_out, grad_lse)
    grads = torch.ops.heed.distance_backward(*inputs, *rows, *needed[3:])
    wanted = (grad if need else None for grad, need in zip(grads, needed, strict=True))
    return *wanted, *[None] * (len(inputs) - _TENSORS)


def refuse(ctx: Any, *grads: Tensor) -> NoReturn:
    """The backward pass of a gradient, which no path but the reference has."""
    raise InputError(
        "expected one derivative of fast attention, found a second (create_graph=True): the kernels have no double "
        'backward; pass backend="reference" to distance_attention'
    )


_FIVE, _SIX = (f"({', '.join(['Tensor'] * n)})" for n in (5, 6))
torch.library.define("heed::distance_forward", f"({_CALL}) -> {_SIX}")
torch.library.define(
    "heed::distance_backward",
    f"({_CALL}, Tensor out, Tensor max_probability, Tensor mean_distance, Tensor highest, Tensor grad_out, "
    f"Tensor grad_lse, bool needs_strength, bool needs_p) -> {_FIVE}",
)
torch.library.impl("heed::distance_forward", "default", _forward)
torch.library.impl("heed::distance_backward", "default", _backward)
torch.library.register_fake("heed::distance_forward", _forward_shapes)
torch.library.register_fake("heed::distance_backward", _backward_shapes)
torch.library.register_autograd("heed::distance_forward", _differentiate, setup_context=_remember)
torch.library.register_autograd("heed::distance_backward", refuse)
