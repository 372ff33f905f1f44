"""Checks of distance attention on the machine at hand: every metric, by the path that runs there, against fp64.

The reference in fp64 is the truth. What a path computes in fp32 (bf16 in one check) may be at most twice as wrong as
the reference in the same dtype; both are measured here, nothing is assumed of the machine.
"""

import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor

from heed.attention.distance import native
from heed.attention.distance.choose import Backend, Choice, check_backend
from heed.attention.distance.functional import Aux, distance_attention, explain
from heed.attention.metric import METRICS, metric_of
from heed.errors import HeedError, InputError

_SHAPE = {"batch": 2, "heads": 4, "key_heads": 2, "rows": 33, "keys": 47, "width": 16, "value_width": 12}
_STATISTICS = ("lse", "entropy", "max_probability", "mean_distance")
_DROPOUT: Mapping[str, Any] = {"dropout_p": 0.25, "seed": 1234}

Values = Mapping[str, Tensor]
"""Results by name, in fp64 on the CPU."""


@dataclass(frozen=True, slots=True)
class SelftestCheck:
    """One check of one metric: the path that ran, its largest error and the largest allowed.

    Errors are relative to the largest true value of what was compared. ``note`` says what went wrong, if anything.
    """

    metric: str
    name: str
    path: str
    passed: bool
    error: float | None
    allowed: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class SelftestReport:
    """What `selftest` found; ``paths`` says for each metric which path ran and why."""

    checks: tuple[SelftestCheck, ...]
    paths: Mapping[str, Choice]
    machine: str
    seconds: float

    @property
    def success_rate(self) -> float:
        """Share of checks that passed, in [0, 1]."""
        return sum(check.passed for check in self.checks) / len(self.checks)

    @property
    def failures(self) -> tuple[SelftestCheck, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def record(self) -> dict[str, Any]:
        """As plain values for JSON."""
        checks = [{name: getattr(check, name) for name in SelftestCheck.__slots__} for check in self.checks]
        paths = {metric: choice._asdict() for metric, choice in self.paths.items()}
        rest = {"success_rate": self.success_rate, "machine": self.machine, "seconds": self.seconds}
        return {**rest, "paths": paths, "checks": checks}

    def __str__(self) -> str:
        names = list(_CHECKS)
        width = max(len("metric"), *(len(metric) for metric in self.paths))
        lines = [f"{'metric':<{width}}  path       " + "  ".join(names) + "  why this path"]
        for metric, choice in self.paths.items():
            marks = {check.name: "ok" if check.passed else "FAILED" for check in self.checks if check.metric == metric}
            cells = "  ".join(f"{marks[name]:<{len(name)}}" for name in names)
            lines.append(f"{metric:<{width}}  {choice.path:<9}  {cells}  {choice.reason}")
        lines += ["", *(f"{check.metric}, {check.name}: {_told(check)}" for check in self.failures)]
        passed = len(self.checks) - len(self.failures)
        lines.append(f"{passed} of {len(self.checks)} checks passed ({self.success_rate:.1%}) in {self.seconds:.1f} s")
        return "\n".join([*lines, self.machine])


def selftest(
    metrics: Collection[str] | str | None = None, *, backend: Backend = "auto", device: torch.device | str = "cpu"
) -> SelftestReport:
    """Check distance attention here: forward, gradient, masks, dropout, threads and 16 bits, for every metric.

    Parameters
    ----------
    metrics
        Names in `heed.attention.METRICS`, or one; None: all.
    backend
        The path to check; "auto": for each metric the one that would run.
    device
        Where the tensors are.

    A check that raises has failed, and its error is in the report. torch's generator and number of threads are left as
    they were. Raises `InputError` for an unknown metric, backend or device, and for no metric at all.
    """
    begun = perf_counter()
    names = METRICS if metrics is None else [metrics] if isinstance(metrics, str) else metrics
    chosen = [metric_of(name).name for name in names]
    if not chosen:
        raise InputError(f"metrics: expected at least one of {', '.join(METRICS)}, or None for all, found none")
    check_backend(backend)
    _check_device(device)
    checks, paths = [], {}
    for metric in chosen:
        case = _Case(metric, backend, torch.device(device))
        paths[metric] = case.choice()
        checks += [_checked(case, name, check) for name, check in _CHECKS.items()]
    return SelftestReport(tuple(checks), paths, _machine(torch.device(device)), perf_counter() - begun)


def _check_device(device: torch.device | str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        raise InputError(f"device: expected one that torch can use here, found {device!r}: {error}") from error


class _Case:
    """One metric, its operands in fp64 and ways to run them."""

    def __init__(self, metric: str, backend: Backend, device: torch.device) -> None:
        self.metric, self.backend, self.device = metric, backend, device
        generator = torch.Generator("cpu").manual_seed(0)
        sizes = _SHAPE
        keys = (sizes["batch"], sizes["key_heads"], sizes["keys"])
        shapes = {
            "q": (sizes["batch"], sizes["heads"], sizes["rows"], sizes["width"]),
            "k": (*keys, sizes["width"]),
            "v": (*keys, sizes["value_width"]),
            "lam": (sizes["heads"],),
        }
        drawn = {name: torch.randn(shape, generator=generator).to(device).double() for name, shape in shapes.items()}
        drawn["lam"] = drawn["lam"].abs() + 0.5
        if metric == "lp":
            drawn["p"] = torch.full((sizes["heads"],), 3.0, dtype=torch.float64, device=device)
        self.given = drawn
        self.fixed: dict[str, Any] = {"metric": metric, "enable_gqa": True}
        if metric == "smooth_chebyshev":
            self.fixed["p"] = 4.0
        self.noise = torch.randn(sizes["batch"], sizes["heads"], sizes["rows"], 13, generator=generator).to(device)
        key_mask = torch.rand(keys[0], keys[2], generator=generator) > 0.2
        mask = torch.rand(1, sizes["heads"], sizes["rows"], sizes["keys"], generator=generator) > 0.2
        mask[:, 0, 5] = False  # a row that sees nothing
        slopes = torch.linspace(0.1, 0.5, sizes["heads"])
        hiding = {"attn_mask": mask, "key_mask": key_mask, "alibi_slopes": slopes}
        self.hiding: dict[str, Any] = {
            "is_causal": True,
            "window": 20,
            **{name: x.to(device) for name, x in hiding.items()},
        }

    def choice(self, dtype: torch.dtype = torch.float32, **options: Any) -> Choice:
        """The path that runs, and why; where the asked-for one cannot, what it says."""
        given = {name: x.to(dtype) for name, x in self.given.items()}
        q, k, v = (given.pop(name) for name in "qkv")
        asked: dict[str, Any] = {**self.fixed, **given, **options}
        try:
            return explain(q, k, v, backend=self.backend, **asked)
        except HeedError as error:
            return Choice(cast(Any, self.backend), str(error))

    def values(self, backend: str, dtype: torch.dtype, *, gradients: bool = False, **options: Any) -> Values:
        """Output and row statistics, and gradients if wanted."""
        given = {name: x.detach().to(dtype).requires_grad_(gradients) for name, x in self.given.items()}
        q, k, v = (given[name] for name in "qkv")
        rest = {name: x for name, x in given.items() if name not in "qkv"}
        asked: dict[str, Any] = {"backend": backend, **self.fixed, **rest, **options}
        out, aux = cast(tuple[Tensor, Aux], distance_attention(q, k, v, return_aux=_STATISTICS, **asked))
        found = {"out": out, **{name: getattr(aux, name) for name in _STATISTICS}}
        if gradients:
            assert aux.lse is not None
            noise, lse = self.noise.to(out.dtype), aux.lse.masked_fill(aux.lse == -torch.inf, 0.0)
            loss = (out * noise[..., :-1]).sum() + (lse * noise[..., -1]).sum()
            grads = torch.autograd.grad(loss, list(given.values()))
            found |= {f"gradient of {name}": grad for name, grad in zip(given, grads, strict=True)}
        return {name: value.detach().double().cpu() for name, value in found.items()}


def _forward(case: _Case) -> tuple[float, float]:
    return _against_reference(case, torch.float32)


def _gradient(case: _Case) -> tuple[float, float]:
    return _against_reference(case, torch.float32, gradients=True)


def _masks(case: _Case) -> tuple[float, float]:
    """With gradients, and a row that sees nothing."""
    found = case.values(case.backend, torch.float32, **case.hiding)
    if float(found["out"][:, 0, 5].abs().max()) > 0 or bool((found["lse"][:, 0, 5] != -torch.inf).any()):
        raise AssertionError("a row that sees no key is not zero, or its lse not -inf")
    return _against_reference(case, torch.float32, gradients=True, **case.hiding)


def _dropout(case: _Case) -> tuple[float, float]:
    """With gradients: the backward pass drops the same weights."""
    return _against_reference(case, torch.float32, gradients=True, **_DROPOUT)


def _threads(case: _Case) -> tuple[float, float]:
    """One thread and several differ at most by the order of sums."""
    several = max(2, torch.get_num_threads())
    with _n_threads(several):
        found = case.values(case.backend, torch.float32, gradients=True)
    with _n_threads(1):
        alone = case.values(case.backend, torch.float32, gradients=True)
    return _worst(found, alone, alone), 64 * torch.finfo(torch.float32).eps


def _sixteen_bits(case: _Case) -> tuple[float, float]:
    return _against_reference(case, torch.bfloat16)


_CHECKS: dict[str, Callable[[_Case], tuple[float, float]]] = {
    "forward": _forward,
    "gradient": _gradient,
    "masks": _masks,
    "dropout": _dropout,
    "threads": _threads,
    "bfloat16": _sixteen_bits,
}
"""Each gives the error found and the error allowed."""

_OPTIONS: dict[str, Callable[[_Case], Choice]] = {
    "masks": lambda case: case.choice(**case.hiding),
    "dropout": lambda case: case.choice(**_DROPOUT),
    "bfloat16": lambda case: case.choice(torch.bfloat16),
}
"""The path of the checks for which it may be another than that of plain fp32."""


def _checked(case: _Case, name: str, check: Callable[[_Case], tuple[float, float]]) -> SelftestCheck:
    path = _OPTIONS.get(name, _Case.choice)(case).path
    try:
        error, allowed = check(case)
    except Exception as failure:  # whatever happens here is what the report is for
        return SelftestCheck(case.metric, name, path, False, None, None, f"{type(failure).__name__}: {failure}")
    return SelftestCheck(case.metric, name, path, error <= allowed, error, allowed)


def _against_reference(case: _Case, dtype: torch.dtype, **options: Any) -> tuple[float, float]:
    """The error of a path and twice that of the reference in the same dtype, both against the reference in fp64."""
    true = case.values("reference", torch.float64, **options)
    plain = case.values("reference", dtype, **options)
    found = case.values(case.backend, dtype, **options)
    return _worst(found, true, true), 2 * _worst(plain, true, true) + 8 * torch.finfo(torch.float32).eps


def _worst(found: Values, wanted: Values, sizes: Values) -> float:
    """Largest difference over all values, each relative to the largest of its kind."""
    worst = 0.0
    for name, value in wanted.items():
        finite = value.isfinite()
        if not torch.equal(found[name].isfinite(), finite):
            raise AssertionError(f"{name} is not finite where it should be, or finite where it should not be")
        size = float(sizes[name][finite].abs().max().clamp(min=1e-30))
        worst = max(worst, float((found[name] - value)[finite].abs().max()) / size)
    return worst


@contextmanager
def _n_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _machine(device: torch.device) -> str:
    """Library, threads, processor and kernel in a line."""
    kernel = native.status()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    built = f"{kernel.variant} kernel ({kernel.source})" if kernel.available else f"no CPU kernel: {kernel.reason}"
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, {where}, {built}"


def _told(check: SelftestCheck) -> str:
    return check.note or f"error {check.error:.1e}, allowed {check.allowed:.1e}"
