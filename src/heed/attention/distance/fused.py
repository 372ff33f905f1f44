"""The kernels as opaque operators of torch: ``heed::distance_forward``, ``distance_backward``, ``distance_decode``.

torch.compile and autograd see one operator each way; which engine runs inside is an argument: the native CPU kernel,
Triton, or tiles of plain torch. An engine is a module with ``forward(call)`` and
``backward(call, out, lse, grad_out, delta, needs_p=...)`` on plain tensors.
"""

from dataclasses import replace
from importlib import import_module
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from heed.attention.distance import native
from heed.attention.distance.call import Call, Forward
from heed.attention.distance.tile import wide
from heed.errors import InputError

Engine = Literal["fused", "triton", "tiled"]

_HOMES = {"fused": "native", "triton": "triton_path", "tiled": "tiled"}
_CALL = (
    "Tensor q, Tensor k, Tensor v, Tensor? p, str engine, str kernel, Tensor? mask, Tensor? key_mask, bool causal, "
    "SymInt q_offset, SymInt? window, Tensor? alibi, float dropout_p, Tensor? seed"
)
_TENSORS = 4
"""The first arguments, those that have a gradient."""


def attend(call: Call, engine: Engine) -> Forward:
    """Output and row statistics by an engine; ``out`` and ``lse`` have a first derivative."""
    return Forward(*torch.ops.heed.distance_forward(*_inputs(call, engine)))


def decode(call: Call) -> Forward:
    """Output and row statistics of an unfolded call by the native kernel (`native.decodes`); no derivative."""
    return Forward(*torch.ops.heed.distance_decode(*_inputs(call, "fused"), call.strength))


def _inputs(call: Call, engine: Engine) -> tuple[Any, ...]:
    seed = torch.tensor(call.seed, device="cpu") if isinstance(call.seed, int) else call.seed
    where = (call.mask, call.key_mask, call.causal, call.q_offset, call.window, call.alibi)
    return (call.q, call.k, call.v, call.p, engine, call.kernel, *where, call.dropout_p, seed)


def _call(*inputs: Any) -> Call:
    q, k, v, p, _, kernel, *where, seed = inputs[:14]
    mask, key_mask, causal, q_offset, window, alibi, dropout_p = where
    seed = None if seed is None else int(seed)
    return Call(q, k, v, kernel, p, mask, key_mask, causal, q_offset, window, alibi, dropout_p, seed)


def _engine(name: str) -> Any:
    return import_module(f"heed.attention.distance.{_HOMES[name]}")


def _forward(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(_engine(inputs[_TENSORS]).forward(_call(*inputs)))


def _decode(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(native.forward(replace(_call(*inputs), strength=inputs[-1])))


def _backward(*inputs: Any) -> tuple[Tensor, ...]:
    out, lse, grad_out, delta, needs_p = inputs[14:]
    grads = _engine(inputs[_TENSORS]).backward(_call(*inputs), out, lse, grad_out, delta, needs_p=needs_p)
    return grads.q, grads.k, grads.v, lse.new_empty(0) if grads.p is None else grads.p


def _forward_shapes(*inputs: Any) -> tuple[Tensor, ...]:
    q, v = inputs[0], inputs[2]
    rows = [wide(q.new_empty(0)).new_empty(q.shape[:3]) for _ in range(4)]
    return v.new_empty(*q.shape[:3], v.shape[-1]), *rows


def _backward_shapes(*inputs: Any) -> tuple[Tensor, ...]:
    q, k, v, p = inputs[:_TENSORS]
    grads = [x.new_empty(x.shape) for x in (q, k, v)]
    return *grads, torch.empty_like(p) if inputs[-1] else wide(q.new_empty(0))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.plain = [None if isinstance(x, Tensor) else x for x in inputs]
    ctx.places = [place for place, x in enumerate(inputs) if isinstance(x, Tensor)]
    ctx.save_for_backward(*(inputs[place] for place in ctx.places), *output[:2])


def _differentiate(ctx: Any, grad_out: Tensor, grad_lse: Tensor, *unused: Tensor) -> tuple[Any, ...]:
    *tensors, out, lse = ctx.saved_tensors
    inputs = list(ctx.plain)
    for place, tensor in zip(ctx.places, tensors, strict=True):
        inputs[place] = tensor
    delta = (wide(out) * wide(grad_out)).sum(-1) - grad_lse
    needs_p = ctx.needs_input_grad[3]
    q, k, v, p = torch.ops.heed.distance_backward(*inputs, out, lse, grad_out, delta, needs_p)
    return q, k, v, p if needs_p else None, *[None] * (len(inputs) - _TENSORS)


def refuse(ctx: Any, *grads: Tensor) -> NoReturn:
    """The backward pass of a gradient, which no path but the reference has."""
    raise InputError(
        "expected one derivative of fast attention, found a second (create_graph=True): the kernels have no double "
        'backward; pass backend="reference" to distance_attention'
    )


_FIVE, _FOUR = (f"({', '.join(['Tensor'] * n)})" for n in (5, 4))
torch.library.define("heed::distance_forward", f"({_CALL}) -> {_FIVE}")
torch.library.define("heed::distance_decode", f"({_CALL}, Tensor strength) -> {_FIVE}")
torch.library.define(
    "heed::distance_backward",
    f"({_CALL}, Tensor out, Tensor lse, Tensor grad_out, Tensor delta, bool needs_p) -> {_FOUR}",
)
torch.library.impl("heed::distance_forward", "default", _forward)
torch.library.impl("heed::distance_decode", "default", _decode)
torch.library.impl("heed::distance_backward", "default", _backward)
torch.library.register_fake("heed::distance_forward", _forward_shapes)
torch.library.register_fake("heed::distance_decode", _forward_shapes)
torch.library.register_fake("heed::distance_backward", _backward_shapes)
torch.library.register_autograd("heed::distance_forward", _differentiate, setup_context=_remember)
torch.library.register_autograd("heed::distance_backward", refuse)
