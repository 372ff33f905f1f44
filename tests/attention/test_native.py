"""The compiled kernel, every variant this processor runs, against the specification in fp64."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any, NamedTuple

import psutil
import pytest
import torch
from torch import Tensor

from heed.attention.distance import native, reference
from heed.attention.distance.call import Call, Forward, Request, Rows
from heed.attention.metric import metric_of
from heed.errors import InputError

pytestmark = pytest.mark.skipif(not native.status().available, reason=f"no kernel: {native.status().reason}")

POWERS = (0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 7.0)
KERNELS = [(name, None) for name in ("dot", "cosine", "l1", "l2", "sqeuclidean", "chebyshev", "l21", "linf2")]
KERNELS += [("lp", p) for p in POWERS]
NAMES = ["dot", "cosine", "l1", "l2", "sqeuclidean", "chebyshev", "l21", "linf2", "lp"]
CANCELLING = ("grad of p", "grad of strength")
VARIANTS = native.variants()
SMALL = torch.float32, torch.float64


class Sizes(NamedTuple):
    """batch, query heads, key-value heads, queries, keys, width, value width"""

    b: int
    h: int
    k: int
    q: int
    t: int
    d: int
    e: int


AWKWARD = [Sizes(1, 2, 1, 1, 100, 64, 7), Sizes(2, 2, 2, 47, 63, 2, 16), Sizes(1, 4, 2, 49, 65, 16, 1)]
AWKWARD += [Sizes(1, 1, 1, 100, 48, 80, 64), Sizes(1, 8, 1, 3, 64, 6, 80), Sizes(1, 1, 1, 64, 1, 6, 3)]


def call(name: str, n: Sizes, *, p: float | None = None, dtype: torch.dtype = torch.float64, **options: Any) -> Call:
    shapes = ((n.b, n.h, n.q, n.d), (n.b, n.k, n.t, n.d), (n.b, n.k, n.t, n.e))
    q, k, v = (torch.randn(shape, dtype=torch.float64).to(dtype) for shape in shapes)
    power = None if p is None and name != "lp" else torch.full((n.h,), p or 2.5, dtype=torch.float64)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    options = {"q_offset": n.t - n.q, "p": None if power is None else power.to(wide), **options}
    options = {key: x.to(wide) if isinstance(x, Tensor) and x.is_floating_point() else x for key, x in options.items()}
    far = n.d ** (1 / p) if p else 2 if name in ("l2", "chebyshev", "linf2") else n.d  # about the mean distance
    strength = torch.linspace(0.6, 1.4, n.h, dtype=wide)
    return Call(q * min(1, 6 / far), k * min(1, 6 / far), v, name, strength, **options)


def plain(c: Call, grad_out: Tensor, grad_lse: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Values and gradients by autograd through the specification, in ``dtype``."""
    wide = {x: getattr(c, x) for x in ("q", "k", "v", "strength", "p", "alibi", "mask")}
    wide = {x: t.to(dtype) for x, t in wide.items() if t is not None and t.is_floating_point()}
    leaves = {x: wide[x].detach().clone().requires_grad_() for x in ("q", "k", "v", "strength", "p") if x in wide}
    forward, _ = reference.attend(Request(metric_of(c.kernel), replace(c, **{**wide, **leaves})))
    lse = forward.lse.masked_fill(forward.lse == -torch.inf, 0)
    loss = (forward.out * grad_out.to(dtype)).sum() + (lse * grad_lse.to(dtype)).sum()
    grads = torch.autograd.grad(loss, list(leaves.values()))
    values = {what: value.detach() for what, value in forward._asdict().items() if what != "highest"}
    return {**values, **{f"grad of {x}": g for x, g in zip(leaves, grads, strict=True)}}


def compiled(c: Call, grad_out: Tensor, grad_lse: Tensor, variant: str | None = None) -> dict[str, Tensor]:
    """By the kernel, and what it leaves out of the gradients of strength and p (`Grads`)."""
    forward = native.forward(c, variant=variant)
    delta = (forward.out * grad_out).sum(-1) - grad_lse
    grads = native.backward(c, rows_of(forward, delta), grad_out, variant=variant)
    named = {f"grad of {x}": grad for x, grad in grads._asdict().items() if grad is not None}
    forward = whole(c, forward)
    named["grad of strength"] -= (grad_lse * forward.mean_distance).sum((0, 2))
    if "grad of p" in named:
        strength = c.strength * named["grad of strength"]
        named["grad of p"] = named["grad of p"] - math.log(c.q.shape[-1]) / c.p**2 * strength
    return {**forward._asdict(), **named}


def rows_of(forward: Forward, delta: Tensor) -> Rows:
    return Rows(forward.max_probability, forward.mean_distance, forward.highest, delta)


def whole(c: Call, forward: Forward) -> Forward:
    """With the 1 of 1 - cos, which the kernel leaves out."""
    if c.kernel != "cosine":
        return forward
    mean = (forward.mean_distance + 1).masked_fill(forward.lse == -torch.inf, 0)
    return forward._replace(lse=forward.lse - c.strength.view(-1, 1), mean_distance=mean)


def weights(c: Call) -> tuple[Tensor, Tensor]:
    """Gradients of the output and of lse, which both count."""
    grad_out = torch.randn(*c.q.shape[:3], c.v.shape[3], dtype=torch.float64).to(c.v.dtype)
    return grad_out, torch.randn(c.q.shape[:3], dtype=torch.float64).to(grad_out.dtype)


def check(c: Call, variants: tuple[str, ...] = VARIANTS[:1]) -> None:
    """In fp64 equal to 1e-9; in fp32 at most twice as wrong as plain torch in fp32, and eight roundings.

    The gradients of p and strength are sums over all pairs that nearly cancel: equal to 1e-5 of their size.
    """
    given = weights(c)
    exact, double = plain(c, *given, torch.float64), c.q.dtype == torch.float64
    allowed = exact if double else plain(c, *given, torch.float32)
    for variant in variants:
        got = compiled(c, *given, variant)
        for what, truth in exact.items():
            finite = truth.isfinite()
            assert torch.equal(got[what].isfinite(), finite), (variant, what)
            if finite.any():
                error, limit = (
                    float((x[what].double() - truth)[finite].square().mean().sqrt()) for x in (got, allowed)
                )
                size = float(truth[finite].abs().max())
                bound = 1e-5 * (1 + size) if what in CANCELLING else 2 * limit + 8 * 2**-24 * size
                bound = 1e-9 * (1 + size) if double else bound
                assert error <= bound, (variant, what, error, bound)


@pytest.mark.parametrize("dtype", SMALL, ids=str)
@pytest.mark.parametrize(("name", "p"), KERNELS)
def test_values_and_gradients_equal_the_specification(name, p, dtype):
    torch.manual_seed(0)
    for sizes in AWKWARD:
        check(call(name, sizes, p=p, dtype=dtype), VARIANTS)


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("name", ["dot", "l1", "l2", "sqeuclidean", "chebyshev", "lp"])
def test_odd_widths(name, width):
    torch.manual_seed(0)
    for dtype in SMALL:
        check(call(name, Sizes(1, 2, 2, 49, 65, width, width), dtype=dtype))


def masks(n: Sizes) -> dict[str, dict[str, Any]]:
    seen, real = torch.rand(n.b, 1, n.q, n.t) > 0.3, torch.rand(n.b, n.t) > 0.3
    seen[0, 0, n.q // 2] = False
    added = torch.randn(1, n.h, 1, n.t).masked_fill(torch.rand(1, n.h, 1, n.t) > 0.8, -torch.inf)
    slopes = torch.linspace(0, 0.5, n.h)
    return {
        "causal": {"causal": True},
        "causal, rows before the keys": {"causal": True, "q_offset": -7},
        "window": {"causal": True, "window": 5},
        "band": {"window": 9, "q_offset": 4},
        "boolean": {"mask": seen, "key_mask": real},
        "additive, broadcast": {"mask": added, "causal": True},
        "one row for all": {"mask": seen[:, :, :1]},
        "padding of whole tiles": {"key_mask": (torch.arange(n.t) > 64).expand(n.b, n.t)},
        "alibi": {"alibi": slopes, "window": 30},
        "dropout": {"seed": -3, "dropout_p": 0.4, "causal": True},
    }


@pytest.mark.parametrize("mask", list(masks(AWKWARD[0])))
@pytest.mark.parametrize("name", NAMES)
def test_masks_biases_and_dropout(name, mask):
    torch.manual_seed(0)
    for n in (Sizes(2, 2, 2, 63, 130, 6, 5), Sizes(2, 4, 2, 5, 130, 2, 5)):
        check(call(name, n, **masks(n)[mask]), VARIANTS)


def test_dropout_is_seeded_and_unbiased():
    torch.manual_seed(0)
    c = call("l1", Sizes(1, 1, 1, 100, 300, 8, 4), seed=1, dropout_p=0.3)
    first, again, other = (native.forward(replace(c, seed=seed)).out for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    ones = replace(c, v=torch.ones_like(c.v))
    mean = torch.stack([native.forward(replace(ones, seed=seed)).out for seed in range(100)]).mean()
    assert abs(float(mean) - 1) < 0.01
    assert torch.equal(native.forward(c).lse, native.forward(replace(c, dropout_p=0.0)).lse)


@pytest.mark.parametrize("name", NAMES)
def test_queries_that_equal_keys_and_ties(name):
    torch.manual_seed(0)
    n = Sizes(1, 2, 2, 65, 65, 16, 8)
    for dtype in SMALL:
        c = call(name, n, dtype=dtype)
        coarse = (c.q * 4).round() / 4
        if name not in (
            "chebyshev",
            "linf2",
        ):  # at a tie the specification shares the gradient, the kernel takes the first
            check(replace(c, q=coarse, k=coarse.clone()))
        check(replace(c, k=c.q.clone()))


def test_a_maximum_pulls_on_the_first_coordinate_that_reaches_it():
    q, k = torch.tensor([[[[1.0, -1.0, 0.0]]]]), torch.zeros(1, 1, 2, 3)
    k[0, 0, 1] = 9.0
    c = Call(q, k, torch.tensor([[[[1.0], [0.0]]]]), "chebyshev", torch.ones(1))
    forward = native.forward(c)
    grads = native.backward(c, rows_of(forward, forward.out.sum(-1)), torch.ones(1, 1, 1, 1))
    assert grads.k[0, 0, 0, 0] != 0
    assert grads.k[0, 0, 0, 1:].count_nonzero() == 0
    assert grads.k[0, 0, 1].count_nonzero() == 1
    assert grads.k[0, 0, 1, 1] != 0


@pytest.mark.parametrize("name", NAMES)
def test_far_from_the_origin(name):
    torch.manual_seed(0)
    c = call(name, Sizes(1, 2, 2, 48, 65, 16, 8), dtype=torch.float32)
    if name not in ("dot", "chebyshev", "linf2"):  # a product is not invariant; rounded coordinates tie at the maximum
        check(replace(c, q=c.q + 1e4, k=c.k + 1e4))
    check(replace(c, q=c.q * 1e-3, k=c.k * 1e-3))


def _clusters(x: Tensor) -> Tensor:
    return x * 0.01 + torch.randn(5, x.shape[-1])[torch.arange(x.shape[-2]) % 5] * 30


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x * 1e-30,
        lambda x: x * 1e25,
        lambda x: x + 3.0,
        lambda x: x + 1e6 * (torch.arange(x.shape[-1]) == 5),  # one coordinate dwarfs the others
        lambda x: x * (1 + 1e5 * (torch.arange(x.shape[-2]) == 9)[:, None]),  # so does one row
        lambda x: x.relu(),
        lambda x: (x * 8).round(),
        lambda x: x * 0 + 1.5,
        _clusters,
    ],
    ids=["tiny", "huge", "shifted", "coordinate", "row", "ties", "integers", "constant", "clusters"],
)
def test_l1_is_as_exact_whatever_the_numbers_look_like(change):
    """Distances are taken in whole numbers where a grid is fine enough for them, else as they are."""
    for width in (1, 64, 100):
        torch.manual_seed(0)
        c = call("l1", Sizes(1, 2, 1, 49, 130, width, 8), dtype=torch.float32)
        check(replace(c, q=change(c.q), k=change(c.k)), VARIANTS)


@pytest.mark.parametrize("far", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "cosine"])
def test_weights_of_the_backward_pass_sum_to_one_however_large_the_logits(name, variant, far):
    """Weights taken from a logsumexp are all wrong by its rounding, 1e-7 of it."""
    torch.manual_seed(0)
    for rows in (1, 8, 49):
        c = call(name, Sizes(1, 1, 1, rows, 65, 16, 1), dtype=torch.float32)
        c = replace(c, q=c.q * 0.1, k=c.k * 0.1 + torch.full((16,), 0.1).cumsum(0) * far)
        forward, none = native.forward(c, variant=variant), torch.zeros(1, 1, rows)
        grads = native.backward(c, rows_of(forward, none), torch.ones(1, 1, rows, 1), variant=variant)
        assert abs(float(grads.v.sum()) - rows) <= rows * 16 * 2**-24


@pytest.mark.parametrize("p", [5.0, 30.0, 100.0])
def test_high_powers_neither_overflow_nor_vanish(p):
    torch.manual_seed(0)
    for factor in (1e-3, 1.0, 30.0):
        c = call("lp", Sizes(1, 1, 1, 9, 65, 16, 8), p=p, dtype=torch.float32)
        check(replace(c, q=c.q * factor, k=c.k * factor))


def test_p_for_each_head_and_infinite_p():
    torch.manual_seed(0)
    for rows in (3, 50):
        c = call("lp", Sizes(2, 4, 2, rows, 65, 6, 5))
        check(replace(c, p=torch.tensor([1.0, 2.5, 3.0, 0.6], dtype=torch.float64)))
    chebyshev = native.forward(replace(c, kernel="chebyshev", p=None)).out
    assert torch.equal(native.forward(replace(c, p=torch.full((4,), torch.inf))).out, chebyshev)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_see_nothing_are_zero(name):
    c = call(name, Sizes(1, 2, 2, 50, 65, 6, 5), dtype=torch.float32, mask=torch.zeros(1, 1, 50, 65, dtype=torch.bool))
    forward = native.forward(c)
    assert (forward.lse == -torch.inf).all()
    for value in (forward.out, forward.entropy, forward.max_probability, forward.mean_distance):
        assert value.count_nonzero() == 0
    grads = native.backward(c, rows_of(forward, torch.zeros(1, 2, 50)), torch.ones_like(forward.out))
    assert all(grad is None or grad.count_nonzero() == 0 for grad in grads)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_infinities_and_nan_give_what_the_formula_gives(name, variant):
    torch.manual_seed(0)
    c = call(name, Sizes(1, 1, 1, 50, 65, 6, 5), dtype=torch.float32)
    c.q[0, 0, 3, 1], c.q[0, 0, 7, 2], c.k[0, 0, 5, 4] = torch.nan, torch.inf, -torch.inf
    got, wanted = whole(c, native.forward(c, variant=variant)), reference.attend(Request(metric_of(name), c))[0]
    torch.testing.assert_close(got.out, wanted.out, equal_nan=True)
    fair = wanted.lse != torch.inf  # a logit of +infinity, which only a product can have, makes lse NaN like the output
    torch.testing.assert_close(got.lse[fair], wanted.lse[fair], equal_nan=True)


def test_hidden_keys_are_never_read():
    torch.manual_seed(0)
    real = torch.arange(130)[None] % 3 > 0
    c = call("l1", Sizes(1, 2, 2, 50, 130, 6, 5), key_mask=real)
    clean = native.forward(c)
    hidden = (~real)[0]
    c.k[:, :, hidden], c.v[:, :, hidden] = torch.nan, torch.nan
    assert torch.equal(native.forward(c).out, clean.out)


@pytest.mark.parametrize("name", ["dot", "l21"])
def test_any_strides(name):
    torch.manual_seed(0)
    n = Sizes(2, 4, 2, 50, 65, 6, 6)
    c = call(name, n)
    apart = [torch.empty(*x.shape[::-1], dtype=x.dtype).permute(3, 2, 1, 0).copy_(x) for x in (c.q, c.k, c.v)]
    again = Call(*apart, name, c.strength, q_offset=c.q_offset)
    given = weights(c)
    flat, strided = (
        compiled(c, *given),
        compiled(again, given[0].transpose(1, 2).contiguous().transpose(1, 2), given[1]),
    )
    assert all(torch.equal(flat[what], strided[what]) for what in flat)
    one = c.k[:, :1, :1].expand(-1, 2, 65, -1)
    torch.testing.assert_close(native.forward(replace(c, k=one)).out, native.forward(replace(c, k=one.clone())).out)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_16_bits_are_widened_exactly(name, dtype):
    torch.manual_seed(0)
    c = call(name, Sizes(1, 2, 1, 50, 65, 6, 5), dtype=dtype, causal=True)
    c.q[0, 0, 0, :3] = torch.tensor([1e-7, -6e-5, 6e4])  # subnormal, smallest and largest numbers of fp16
    wide = replace(c, q=c.q.float(), k=c.k.float(), v=c.v.float())
    given = weights(c)
    narrow, full = compiled(c, *given), compiled(wide, given[0].float(), given[1].float())
    for what in ("out", "lse", "entropy"):
        assert torch.equal(narrow[what], full[what].to(narrow[what].dtype)), what
    assert narrow["out"].dtype == narrow["grad of q"].dtype == dtype
    assert narrow["lse"].dtype == torch.float32


def test_threads_change_nothing_but_the_order_of_sums():
    torch.manual_seed(0)
    c = call("l2", Sizes(1, 3, 1, 200, 130, 16, 8), causal=True)
    given, before = weights(c), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(compiled(c, *given))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(other["out"], results[0]["out"])
        for what, value in results[0].items():
            torch.testing.assert_close(other[what], value, rtol=1e-12, atol=1e-12)


_FORKED = """
import os, torch
from heed.attention.distance import native
from heed.attention.distance.call import Call

torch.set_num_threads(2)
call = Call(*(torch.randn(1, 4, 64, 16) for _ in range(3)), "l1", torch.ones(4))
before = native.forward(call).out
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(native.forward(call).out, before) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_threads_of_its_own():
    """OpenMP's, which the kernel shares with torch, do not outlive a fork: a child that waited for them would hang."""
    done = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_memory_does_not_grow():
    c = call("l1", Sizes(1, 2, 1, 20, 65, 16, 16), dtype=torch.float32)
    given = weights(c)
    for _ in range(50):
        compiled(c, *given)
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(3000):
        compiled(c, *given)
    assert process.memory_info().rss - before < 4 << 20


def test_nothing_of_nothing():
    empty = call("l1", Sizes(1, 2, 2, 5, 0, 6, 5), dtype=torch.float32)
    assert (native.forward(empty).lse == -torch.inf).all()
    assert native.forward(call("l1", Sizes(1, 2, 2, 0, 5, 6, 5))).out.shape == (1, 2, 0, 5)
    assert native.forward(call("l1", Sizes(0, 2, 2, 4, 5, 6, 5))).out.shape == (0, 2, 4, 5)


def test_what_it_cannot_do_is_refused():
    c = call("l1", Sizes(1, 1, 1, 3, 3, 4, 4))
    with pytest.raises(InputError, match="expected tensors on the CPU, found meta"):
        native.forward(replace(c, q=c.q.to("meta")))
    with pytest.raises(InputError, match=r"expected one this processor runs, like .*, found 'sse9'"):
        native.forward(c, variant="sse9")


def test_the_status_says_what_runs(monkeypatch):
    status = native.status()
    assert status.variant == VARIANTS[0]
    assert status.source in {"wheel", "compiled"}
    monkeypatch.setenv("HEED_KERNEL", "generic")
    native.status.cache_clear()
    try:
        assert native.status().variant == "generic"
        assert native.status().reason == "HEED_KERNEL asks for it"
    finally:
        native.status.cache_clear()


def test_a_kernel_that_cannot_be_had_is_a_reason_not_an_exception(monkeypatch):
    def missing() -> None:
        raise native.build.BuildError("no compiler")

    monkeypatch.setattr(native, "_library", missing)
    native.status.cache_clear()
    try:
        assert native.status() == native.NativeStatus(False, "", "", "no compiler")
        with pytest.raises(InputError, match="the CPU kernel is not available: no compiler"):
            native.forward(call("l1", Sizes(1, 1, 1, 3, 3, 4, 4)))
    finally:
        native.status.cache_clear()


def test_the_forward_is_what_the_contract_names():
    c = call("l1", Sizes(1, 2, 1, 3, 9, 4, 5), dtype=torch.float32)
    forward = native.forward(c)
    assert isinstance(forward, Forward)
    assert forward.out.shape == (1, 2, 3, 5)
    assert {x.dtype for x in forward} == {torch.float32}
