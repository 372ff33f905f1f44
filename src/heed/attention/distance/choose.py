"""Which path runs a request, and why: ``backend="auto"`` takes the fastest that can, a named one never falls back."""

import logging
import sys
import warnings
from functools import cache
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from heed.attention.constant import constant
from heed.attention.distance import native, triton_path
from heed.attention.distance.call import Request
from heed.errors import InputError

Path = Literal["reference", "fused", "sdpa", "tiled", "triton"]
Backend = Literal["auto"] | Path

_logger = logging.getLogger(__name__)
_REDUCIBLE = ("dot", "cosine", "sqeuclidean")


class Choice(NamedTuple):
    """The path that runs, and the reason in a sentence."""

    path: Path
    reason: str


def choose(request: Request, backend: Backend) -> Choice:
    """The path of a request.

    Raises
    ------
    InputError
        If ``backend`` names no path, or one that cannot run the request; the message says what is missing.
    """
    check_backend(backend)
    if backend != "auto":
        if obstacle := _obstacle(backend, request):
            raise InputError(f'backend="{backend}" cannot run this: {obstacle}; backend="auto" takes a path that can')
        return Choice(backend, "asked for")
    choice = _fastest(request)
    if not torch.compiler.is_compiling():
        _tell(choice)
    return choice


def check_backend(backend: str) -> None:
    """Raise `InputError` for what names no path."""
    if backend not in ("auto", *get_args(Path)):
        raise InputError(f"backend: expected auto, {', '.join(get_args(Path))}, found {backend!r}")


def _fastest(request: Request) -> Choice:
    """The first path without an obstacle, and what stood in the way of those before it."""
    if reason := _without_kernel(request) or _transformed():
        return Choice("reference", reason)
    passed: list[str] = []
    for path in _order(request):
        obstacle = _obstacle(path, request)
        if obstacle is None:
            return Choice(path, "; ".join(passed) or f"the fastest for {request.metric.name} on {_device(request)}")
        if path == "fused":
            _warn()
        passed.append(f"not {path}: {obstacle}")
    raise AssertionError(passed)  # tiles of plain torch run wherever a kernel could


def _without_kernel(request: Request) -> str | None:
    """What of a request no kernel computes."""
    call = request.call
    if not call.kernel:
        return f"metric {request.metric.name!r} has no kernel, only its definition"
    if _wants_gradient(call.mask) or _wants_gradient(call.alibi):
        return "attn_mask or alibi_slopes require a gradient, which only the reference gives"
    return None


def _transformed() -> str | None:
    """What is being done to this code that takes standard operations of torch."""
    if torch.compiler.is_exporting():
        return "an exported graph holds standard operations only"
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        return "a torch.func transform takes standard operations only"
    return None


def _order(request: Request) -> tuple[Path, ...]:
    """Fastest first. On a GPU the tensor cores serve whatever reduces to a product."""
    device = _device(request)
    if device == "cpu":
        return "fused", "sdpa", "tiled"
    reducible = request.metric.name in _REDUCIBLE
    if device == "cuda":
        return ("sdpa", "triton", "tiled") if reducible else ("triton", "tiled")
    return ("sdpa", "tiled") if reducible else ("tiled",)


def _obstacle(path: Path, request: Request) -> str | None:
    """Why a path cannot run a request; None if it can."""
    if path == "reference":
        return None
    if path == "sdpa":
        return _without_kernel(request) or _sdpa_obstacle(request)
    reason = _without_kernel(request) or _transformed()
    if path == "tiled":
        return reason
    return reason or (_fused_obstacle(request) if path == "fused" else _triton_obstacle(request))


def _sdpa_obstacle(request: Request) -> str | None:
    if request.metric.name not in _REDUCIBLE:
        return f"only {', '.join(_REDUCIBLE)} reduce to scaled_dot_product_attention"
    return "its dropout cannot be seeded for each weight" if request.call.dropout_p else None


def _fused_obstacle(request: Request) -> str | None:
    if _device(request) != "cpu":
        return f"the native kernel runs on the CPU, the tensors are on {_device(request)}"
    return _missing_kernel()


@constant
def _missing_kernel() -> str | None:
    status = native.status()
    return None if status.available else status.reason


def _triton_obstacle(request: Request) -> str | None:
    missing = _missing_triton()
    if missing or torch.compiler.is_compiling():  # a graph finds out about widths when it runs
        return missing
    return triton_path.obstacle(request.call)


@constant
def _warn() -> None:
    """Once in the life of the process; torch.compile calls it while it traces."""
    _warn_of(native.status().reason)


@cache
def _warn_of(reason: str) -> None:
    warnings.warn(
        f"distance attention runs without its CPU kernel, on a slower path: {reason}",
        RuntimeWarning,
        stacklevel=_outside(),
    )


def _outside() -> int:
    """The level, counted from who calls this, of the first frame that is neither heed's nor torch's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("heed", "torch"):
        frame, level = frame.f_back, level + 1
    return level


@constant
def _missing_triton() -> str | None:
    status = triton_path.status()
    return None if status.available else status.reason


def _wants_gradient(x: Tensor | None) -> bool:
    return x is not None and x.requires_grad and torch.is_grad_enabled()


def _device(request: Request) -> str:
    return request.call.q.device.type


@cache
def _tell(choice: Choice) -> None:
    """One record for each choice in the life of the process; shown where the application listens to ``heed``."""
    _logger.info("distance attention runs on %s: %s", choice.path, choice.reason)
