"""The CPU kernel: distance attention as compiled code, forward and backward, without a matrix of scores in memory.

One C++ source, compiled for AVX-512, AVX2 and any other processor (`native/`), reached through a plain C interface.
The best variant the processor can run is chosen at run time; ``HEED_KERNEL`` forces one. Nothing here knows autograd.

What it computes is the formula of `Call`, in fp32 (fp64 for fp64; 16 bits are widened while they are read) with an
online softmax, so values agree with plain torch up to rounding. L1 in fp32 is summed in whole numbers where a grid is
fine enough (`native/grid.h`), elsewhere in floats. Threads are torch's own, of OpenMP, where it has them. Where that
formula has a choice: the gradient of |δ| at 0 is 0, so is that of a distance at 0, and a maximum pulls on the first
coordinate that reaches it. Keys that ``key_mask`` hides are never read. Infinite and NaN inputs give what the formula
gives, but what a row cannot see may or may not reach it as 0·NaN, since tiles of keys that no row of a tile sees are
skipped.
"""

import ctypes
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from heed.attention.distance import build
from heed.attention.distance.call import Call, Forward, Grads, Rows
from heed.errors import InputError
from heed.settings import settings

_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3, torch.bool: 4}
_KERNELS = ("dot", "l1", "l2", "sqeuclidean", "lp", "chebyshev", "l21", "linf2", "cosine")
_PAIRED = ("l21", "linf2")
_INT, _FLOAT, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
_FORWARD, _BACKWARD, _DECODE = 0, 1, 2
_FEW_ROWS = 8
"""Query rows of a key head that are faster on keys as they lie in memory than on transposed tiles of them."""

_THREAD_NUMBERS = 1 << 18
"""Numbers in keys and values that take longer to read than a thread takes to start."""

_NO_VARIANT, _OUT_OF_MEMORY = 1, 2


class _Array(ctypes.Structure):
    _fields_ = (("data", _POINTER), ("strides", _INT * 4), ("dtype", _INT))


class _Problem(ctypes.Structure):
    """`Problem` of native/problem.h, field by field."""

    _fields_ = (
        *((name, _Array) for name in ("q", "k", "v", "mask", "key_mask", "grad_out")),
        *(
            (name, _POINTER)
            for name in ("p", "slopes", "strength", "out", "lse", "entropy", "max_probability", "mean_distance")
        ),
        *((name, _POINTER) for name in ("highest", "delta", "grad_q", "grad_k", "grad_v", "grad_strength", "grad_p")),
        *((name, _INT) for name in ("batch", "heads", "kv_heads", "queries", "keys", "width", "value_width")),
        *((name, _INT) for name in ("kernel", "causal", "q_offset", "window")),
        *((name, _INT) for name in ("double_precision", "threads", "parts")),
        *((name, ctypes.c_uint64) for name in ("seed", "dropout_bound")),
        ("kept_scale", _FLOAT),
    )


@dataclass(frozen=True, slots=True)
class NativeStatus:
    """Whether the kernel can run here: ``variant`` ("avx512", "avx2", "generic"), ``source`` ("wheel", "compiled")."""

    available: bool
    variant: str
    source: str
    reason: str


@cache
def status() -> NativeStatus:
    """Find, or compile once, the kernel and say what will run and why; never raises for want of one."""
    wanted = settings().kernel
    try:
        library, source = _library()
    except (build.BuildError, OSError) as error:
        return NativeStatus(False, "", "", str(error))
    variant = library.heed_variant((wanted or "").encode())
    if variant is None:
        return NativeStatus(
            False, "", source, f"HEED_KERNEL={wanted}: this processor does not run it; unset HEED_KERNEL"
        )
    why = "HEED_KERNEL asks for it" if wanted else "the best this processor runs"
    return NativeStatus(True, variant.decode(), source, why)


def variants() -> tuple[str, ...]:
    """The variants that run on this processor, best first; none where there is no kernel."""
    if not status().available:
        return ()
    library = _library()[0]
    return tuple(name for name in build.VARIANTS if library.heed_variant(name.encode()))


def decodes(call: Call) -> bool:
    """Whether `forward` reads the keys once, as they lie."""
    return bool(call.q.shape[2] * (call.q.shape[1] // call.k.shape[1]) <= _FEW_ROWS)


def forward(call: Call, *, variant: str | None = None) -> Forward:
    """Output in v's dtype and the row statistics of `Forward`, by the variant of `status` or the one named.

    Raises `InputError` for what the kernel cannot do: a device other than the CPU, or no kernel here (`status`).
    """
    return _forward(call, _DECODE if decodes(call) else _FORWARD, variant)


def _forward(call: Call, which: int, variant: str | None) -> Forward:
    problem, _held = _problem(call)
    new = partial(torch.empty, dtype=_wide(call.q))
    out = new(*call.q.shape[:3], call.v.shape[3])
    rows = Forward(out, *(new(call.q.shape[:3]) for _ in range(5)))
    for name, value in rows._asdict().items():
        setattr(problem, name, value.data_ptr())
    if which == _DECODE:
        problem.threads = max(1, min(problem.threads, (call.k.numel() + call.v.numel()) // _THREAD_NUMBERS))
    _run(problem, which, variant)
    return rows._replace(out=out.to(call.v.dtype))


def backward(
    call: Call,
    of_rows: Rows,
    grad_out: Tensor,
    *,
    needs_strength: bool = True,
    needs_p: bool = True,
    variant: str | None = None,
) -> Grads:
    """Gradients of q, k and v in their dtypes, of strength where needed, and of p where needed and the kernel is "lp".

    Weights are computed again from the highest score of a row, to the last bit that of the forward pass. Few rows
    (`decodes`) take it anew: keys as they lie are summed in another order. Raises as `forward` does.
    """
    if decodes(call):
        again = _forward(call, _FORWARD, variant)
        of_rows = of_rows._replace(max_probability=again.max_probability, highest=again.highest)
    problem, _held = _problem(call)
    wide = _wide(call.q)
    of_rows = Rows(*(x.to(wide).contiguous() for x in of_rows))
    for name, value in of_rows._asdict().items():
        setattr(problem, name, value.data_ptr())
    problem.grad_out = _array(grad_out)
    problem.parts = _parts(call)
    q = torch.zeros(call.q.shape, dtype=wide)
    k, v = (torch.zeros(problem.parts, *x.shape, dtype=wide) for x in (call.k, call.v))
    problem.grad_q, problem.grad_k, problem.grad_v = q.data_ptr(), k.data_ptr(), v.data_ptr()
    per_head = (problem.parts, *call.q.shape[:2])
    strength = torch.zeros(per_head, dtype=torch.float64) if needs_strength else None
    p = torch.zeros(per_head, dtype=torch.float64) if call.p is not None and needs_p else None
    problem.grad_strength, problem.grad_p = (None if x is None else x.data_ptr() for x in (strength, p))
    _run(problem, _BACKWARD, variant)
    k, v = (x[0] if len(x) == 1 else x.sum(0) for x in (k, v))
    q, k, v = (x.to(call.q.dtype) for x in (q, k, v))
    strength, p = (None if x is None else x.sum((0, 1)).to(call.strength.dtype) for x in (strength, p))
    return Grads(q, k, v, strength, p)


@cache
def _library() -> tuple[ctypes.CDLL, str]:
    """The loaded kernel and where it is from."""
    found = build.find(settings().cache_dir, settings().cxx)
    library = ctypes.CDLL(str(found.path))
    library.heed_problem_bytes.restype = _INT
    library.heed_variant.restype, library.heed_variant.argtypes = ctypes.c_char_p, (ctypes.c_char_p,)
    library.heed_run.restype = ctypes.c_int32
    library.heed_run.argtypes = (ctypes.POINTER(_Problem), ctypes.c_char_p, ctypes.c_int32)
    if library.heed_problem_bytes() != ctypes.sizeof(_Problem):
        raise build.BuildError(f"{found.path} belongs to another version of heed: install heed again")
    library.heed_share_threads.argtypes = (_POINTER,)
    library.heed_share_threads(_openmp())
    return library, found.source


def _openmp() -> int | None:
    """Where the OpenMP library that torch computes with begins a parallel region; None where torch uses none.

    Its threads spin for a while after each of torch's operations: kernels that brought their own would share the cores
    with them.
    """
    try:
        return ctypes.cast(ctypes.CDLL(torch._C.__file__).GOMP_parallel, _POINTER).value
    except (AttributeError, OSError):
        return None


def _run(problem: _Problem, which: int, variant: str | None) -> None:
    found = status()
    if not found.available:
        raise InputError(f"the CPU kernel is not available: {found.reason}; another backend needs none of it")
    code = _library()[0].heed_run(problem, (variant or found.variant).encode(), which)
    if code == _NO_VARIANT:
        raise InputError(f"variant: expected one this processor runs, like {found.variant}, found {variant!r}")
    if code == _OUT_OF_MEMORY:
        raise MemoryError("the CPU kernel found no memory for its tiles")


def _problem(call: Call) -> tuple[_Problem, list[Tensor | None]]:
    """The call in C, and the tensors that must live as long as it."""
    if {x.device.type for x in (call.q, call.k, call.v)} != {"cpu"}:
        raise InputError(f"the CPU kernel: expected tensors on the CPU, found {call.q.device}; move them there")
    batch, heads, queries, width = call.q.shape
    kv_heads, keys, value_width = call.k.shape[1], call.k.shape[2], call.v.shape[3]
    p, slopes = (None if x is None else _double(x) for x in (call.p, call.alibi))
    strength = _double(call.strength)
    mask = None if call.mask is None else call.mask.expand(batch, heads, queries, keys)
    dropout_p = 0.0 if call.seed is None else call.dropout_p
    problem = _Problem(
        q=_array(call.q), k=_array(call.k), v=_array(call.v), mask=_array(mask), key_mask=_array(call.key_mask),
        p=None if p is None else p.data_ptr(), slopes=None if slopes is None else slopes.data_ptr(),
        strength=strength.data_ptr(),
        batch=batch, heads=heads, kv_heads=kv_heads, queries=queries, keys=keys, width=width, value_width=value_width,
        kernel=_KERNELS.index(call.kernel), causal=call.causal, q_offset=call.q_offset, window=call.window or 0,
        double_precision=call.q.dtype == torch.float64, threads=torch.get_num_threads(), parts=1,
        seed=int(call.seed or 0) % (1 << 64), dropout_bound=round(dropout_p * (1 << 24)),
        kept_scale=1 / (1 - dropout_p),
    )  # fmt: skip
    return problem, [p, slopes, strength, mask]


def _parts(call: Call) -> int:
    """Threads that share a key-value head in the backward pass, each with gradients of k and v of its own.

    As many as leave no thread idle, and whose buffers stay below twice the bytes of q, k, v and out.
    """
    threads, pairs = torch.get_num_threads(), call.q.shape[0] * call.k.shape[1]
    wanted = -(-threads // pairs) if pairs < threads else 2 if pairs % threads and pairs < 4 * threads else 1
    size = torch.finfo(_wide(call.q)).bits // 8
    rows = call.q.numel() + call.q[..., 0].numel() * call.v.shape[3]
    own = (call.k.numel() + call.v.numel()) * size
    budget = 2 * (rows + call.k.numel() + call.v.numel()) * call.q.itemsize
    if call.q.itemsize < size:
        budget -= call.q.numel() * size
    return max(1, min(wanted, budget // max(own, 1)))


def _double(x: Tensor) -> Tensor:
    return x.detach().to(torch.float64).contiguous()


def _array(x: Tensor | None) -> _Array:
    if x is None:
        return _Array()
    return _Array(x.data_ptr(), (_INT * 4)(*x.stride()), _DTYPES[x.dtype])


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
