"""Every path against the specification in fp64, at most twice as wrong as plain torch in the same precision."""

from typing import Any

import pytest
import torch
from torch import Tensor

from heed.attention import METRICS, distance_attention
from heed.attention.distance import fused, native, tiled
from heed.attention.distance.read import read
from heed.errors import InputError

NAMES = [name for name, metric in METRICS.items() if metric.kernel]
SMOOTH = ("dot", "cosine", "sqeuclidean")
AUX = ("lse", "entropy", "max_probability", "mean_distance", "weights")

needs_kernel = pytest.mark.skipif(not native.status().available, reason=f"no kernel: {native.status().reason}")
ENGINES = ["tiled", pytest.param("fused", marks=needs_kernel)]
PATHS = [
    *(("tiled", name) for name in NAMES),
    *(("sdpa", name) for name in SMOOTH),
    *(pytest.param("fused", name, marks=needs_kernel) for name in NAMES),
]

DIFFERENCES = [path for path in PATHS if not {"dot", "cosine"} & set(getattr(path, "values", path))]


def inputs(name: str, rows: int, keys: int, width: int = 8, groups: int = 2) -> list[Tensor]:
    """q, k, v, λ for each head and, where the metric has one, p for each head, in fp64."""
    shapes = ((2, 4, rows, width), (2, groups, keys, width), (2, groups, keys, 6))
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    powers = [torch.tensor([1.5, 1.0, 2.5, 3.0], dtype=torch.float64)] if name == "lp" else []
    return [*tensors, torch.rand(4, dtype=torch.float64) + 0.5, *powers]


def masks(rows: int, keys: int) -> dict[str, dict[str, Any]]:
    seen = torch.rand(2, 1, rows, keys) > 0.3
    seen[0, 0, rows // 2] = False
    real = torch.ones(2, keys, dtype=torch.bool)
    real[1, keys // 2 + 1 :] = False
    bias = torch.randn(4, 1, keys).masked_fill(torch.rand(4, 1, keys) > 0.8, -torch.inf)
    return {
        "none": {},
        "window": {"is_causal": True, "window": 5, "q_offset": 2},
        "band": {"window": 9, "key_mask": real, "attn_mask": seen},
        "alibi": {"alibi_slopes": torch.tensor([0.5, 0.25, 0.1, 0.0]), "is_causal": True, "attn_mask": bias},
    }


def everything(name: str, given: list[Tensor], backend: str, **options: Any) -> dict[str, Tensor]:
    """Output, row statistics, and gradients of all inputs through the output and the logsumexp."""
    given = [x.detach().clone().requires_grad_() for x in given]
    q, k, v, lam, *p = given
    p = p[0] if p else None
    options = {"metric": name, "p": p, "lam": lam, "enable_gqa": True, "backend": backend, **options}
    out, aux = distance_attention(q, k, v, return_aux=AUX, **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out).to(out.dtype)
    loss = (out * weight).sum() + aux.lse.masked_fill(aux.lse == -torch.inf, 0).sin().sum()
    grads = torch.autograd.grad(loss, given)
    named = zip(("q", "k", "v", "lam", "p"), grads, strict=False)
    values = {"out": out, **aux._asdict(), **{f"grad of {name}": grad for name, grad in named}}
    return {name: value.detach() for name, value in values.items()}


def assert_as_exact_as_plain(
    got: dict[str, Tensor], plain: dict[str, Tensor], exact: dict[str, Tensor], dtype: torch.dtype
) -> None:
    """The root mean square error of each value is at most twice that of plain torch, and eight roundings.

    Plain torch can be exact where a path cannot: the cosine loses a 1, the square ‖q‖².
    """
    for what, truth in exact.items():
        finite = truth.isfinite()
        assert torch.equal(got[what].isfinite(), finite), what
        if not finite.any():
            continue
        error, allowed = (float((x[what].double() - truth)[finite].square().mean().sqrt()) for x in (got, plain))
        size = float(truth[finite].square().mean().sqrt())
        assert error <= 2 * allowed + 8 * torch.finfo(dtype).eps * size, what


@pytest.mark.parametrize("mask", masks(1, 1))
@pytest.mark.parametrize(("backend", "name"), PATHS)
def test_path_agrees_with_the_specification(backend: str, name: str, mask: str) -> None:
    given, options = inputs(name, 63, 67), masks(63, 67)[mask]
    exact = everything(name, given, "reference", **options)
    plain = everything(name, [x.float() for x in given], "reference", **options)
    got = everything(name, [x.float() for x in given], backend, **options)
    assert_as_exact_as_plain(got, plain, exact, torch.float32)


@pytest.mark.parametrize("q_offset", [-10, 60])
@pytest.mark.parametrize(
    ("backend", "name"), [path for path in PATHS if "sqeuclidean" in getattr(path, "values", path)]
)
def test_rows_beyond_the_keys_see_what_they_reach(backend: str, name: str, q_offset: int) -> None:
    given, options = inputs(name, 30, 67), {"is_causal": True, "window": 12, "q_offset": q_offset}
    exact, got = (everything(name, given, path, **options) for path in ("reference", backend))
    assert (exact["lse"] == -torch.inf).any()
    for what, truth in exact.items():
        torch.testing.assert_close(got[what], truth, msg=what)


@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (1, 63), (7, 100)])
@pytest.mark.parametrize(("backend", "name"), PATHS)
def test_awkward_sizes(backend: str, name: str, rows: int, keys: int) -> None:
    given = inputs(name, rows, keys, width=2 if METRICS[name].paired else 1)
    exact = everything(name, given, "reference")
    plain = everything(name, [x.float() for x in given], "reference")
    got = everything(name, [x.float() for x in given], backend)
    assert_as_exact_as_plain(got, plain, exact, torch.float32)


def plain_16_bits(name: str, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Every step in the dtype of the inputs, as straightforward code would do it."""
    request = read(q, k, v, metric=name, **options)
    p = None if request.call.p is None else request.call.p.view(-1, 1, 1).to(q.dtype)
    strength = request.call.strength.view(-1, 1, 1).to(q.dtype)
    return (-strength * request.metric.distance(q, k, p)).softmax(-1) @ v


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("backend", "name"), PATHS)
def test_16_bits(backend: str, name: str, dtype: torch.dtype) -> None:
    q, k, v = (x.to(dtype) for x in inputs(name, 63, 100, groups=4)[:3])
    options = {"metric": name, "p": 3.0 if name == "lp" else None}
    exact = distance_attention(q.double(), k.double(), v.double(), **options, backend="reference")
    plain = plain_16_bits(name, q, k, v, p=options["p"])
    got = distance_attention(q, k, v, **options, backend=backend)
    assert got.dtype == dtype
    assert_as_exact_as_plain({"out": got}, {"out": plain}, {"out": exact}, dtype)


@pytest.mark.parametrize("backend", ["tiled", "sdpa", pytest.param("fused", marks=needs_kernel)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_squares_beyond_the_numbers_of_16_bits(backend: str, dtype: torch.dtype) -> None:
    """Regression: ‖k‖² of 100,000 is infinite in fp16, though λ makes small logits of it."""
    shapes = ((1, 4, 16, 64), 40), ((1, 2, 16, 64), 40), ((1, 2, 16, 3), 1)
    q, k, v = ((torch.randn(shape) * size).to(dtype) for shape, size in shapes)
    options = {"metric": "sqeuclidean", "lam": 0.01, "enable_gqa": True}
    exact = distance_attention(q.double(), k.double(), v.double(), **options, backend="reference")
    got = distance_attention(q, k, v, **options, backend=backend)
    assert float((got.double() - exact).abs().max()) < 64 * torch.finfo(dtype).eps


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("backend", ["tiled", pytest.param("fused", marks=needs_kernel)])
def test_a_strength_below_the_smallest_number_gives_the_average(backend: str, rows: int) -> None:
    q, k, v = torch.randn(1, 2, rows, 8, requires_grad=True), *torch.randn(2, 1, 2, 200, 8)
    out = distance_attention(q, k, v, metric="l1", lam=1e-50, scale=1.0, backend=backend)
    torch.testing.assert_close(out, v.mean(2, keepdim=True).expand_as(out), rtol=1e-5, atol=1e-6)
    assert torch.autograd.grad(out.sum(), q)[0].isfinite().all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_differences(engine: str, name: str) -> None:
    given = [x[:1].clone().requires_grad_() if x.ndim == 4 else x.requires_grad_() for x in inputs(name, 5, 7, 4)]
    if name == "lp":
        given[-1] = torch.tensor([0.7, 1.0, 2.5, 9.0], dtype=torch.float64, requires_grad=True)
    options = {"metric": name, "enable_gqa": True, "is_causal": True, "dropout_p": 0.3, "seed": 5, "backend": engine}
    mask = torch.rand(5, 7) > 0.2
    mask[1] = False

    def attention(q: Tensor, k: Tensor, v: Tensor, lam: Tensor, *p: Tensor) -> tuple[Tensor, Tensor]:
        power = p[0] if p else None
        out, aux = distance_attention(q, k, v, lam=lam, p=power, attn_mask=mask, return_aux=("lse",), **options)
        return out, aux.lse.masked_fill(aux.lse == -torch.inf, 0)

    assert torch.autograd.gradcheck(attention, tuple(given), fast_mode=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["l1", "cosine", "lp"])
def test_all_paths_drop_the_same_weights(engine: str, name: str) -> None:
    given = inputs(name, 63, 100)
    options = {"dropout_p": 0.4, "seed": 12345, "is_causal": True}
    exact, got = (everything(name, given, backend, **options) for backend in ("reference", engine))
    for what, truth in exact.items():
        torch.testing.assert_close(got[what], truth, rtol=1e-9, atol=1e-9, msg=what)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["l1", "l2", "sqeuclidean", "lp", "l21"])
def test_a_query_that_equals_a_key(engine: str, name: str) -> None:
    x = torch.randn(1, 2, 20, 6, dtype=torch.float64)
    given = [x, x, x, torch.ones(2, dtype=torch.float64)]
    options = {"p": 3.0} if name == "lp" else {}
    exact, got = (everything(name, given, backend, **options) for backend in ("reference", engine))
    for what, truth in exact.items():
        torch.testing.assert_close(got[what], truth, msg=what)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["chebyshev", "linf2"])
def test_tied_coordinates_get_a_subgradient(engine: str, name: str) -> None:
    q = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 4).requires_grad_()
    k, v = torch.tensor([[0.0] * 4, [9.0, 0.0, 0.0, 0.0]]).view(1, 1, 2, 4), torch.tensor([1.0, 0.0]).view(1, 1, 2, 1)
    out, aux = distance_attention(q, k, v, metric=name, scale=0.1, backend=engine, return_aux="weights")
    (grad,) = torch.autograd.grad(out.sum(), q)
    near, far = aux.weights.detach().flatten().tolist()
    from_far = from_near = -0.1 * near * far  # the far key pulls on the first coordinate, the near one on a mixture
    first, second, *rest = grad.flatten().tolist()
    assert first + second == pytest.approx(from_far + from_near, rel=1e-5)
    assert from_near * 1.00001 <= second <= 0
    assert rest == [0.0, 0.0]


@pytest.mark.parametrize(("backend", "name"), PATHS)
def test_strides_do_not_matter(backend: str, name: str) -> None:
    q, k, v = (torch.randn(2, 9, 3, 8).transpose(1, 2) for _ in range(3))
    k = k[:, :, 2:3].expand(2, 3, 9, 8)
    v = torch.cat([v, v], -1)[..., ::2]
    options = {"metric": name, "p": 2.5 if name == "lp" else None, "backend": backend}
    mask = torch.rand(1, 1, 9, 1).expand(2, 3, 9, 9)
    got = distance_attention(q, k, v, attn_mask=mask, **options)
    wanted = distance_attention(q.contiguous(), k.contiguous(), v.contiguous(), attn_mask=mask.contiguous(), **options)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("dot", "cosine")])
def test_an_infinite_key_gets_no_weight(engine: str, name: str) -> None:
    q, k, v = (torch.randn(1, 2, 9, 8) for _ in range(3))
    hidden = torch.ones(1, 9, dtype=torch.bool)
    hidden[0, 4] = False
    options = {"metric": name, "p": 2.5 if name == "lp" else None, "backend": engine}
    wanted = distance_attention(q, k, v, key_mask=hidden, **options)
    k[:, :, 4, 3] = torch.inf
    torch.testing.assert_close(distance_attention(q, k, v, **options), wanted)


@pytest.mark.parametrize(("backend", "name"), DIFFERENCES)
def test_a_common_offset_costs_no_digits(backend: str, name: str) -> None:
    q, k, v = (torch.randn(1, 2, 30, 8) for _ in range(3))
    q, k = q.round(decimals=0) + 4096, k.round(decimals=0) + 4096
    options = {"metric": name, "p": 2.5 if name == "lp" else None, "scale": 1.0}
    exact = distance_attention(q.double(), k.double(), v.double(), **options, backend="reference")
    plain = distance_attention(q, k, v, **options, backend="reference")
    got = distance_attention(q, k, v, **options, backend=backend)
    assert_as_exact_as_plain({"out": got}, {"out": plain}, {"out": exact}, torch.float32)


def test_tiles_cover_rows_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    given = inputs("l1", 63, 100)
    wanted = everything("l1", given, "tiled", is_causal=True, window=40, dropout_p=0.2, seed=1)
    monkeypatch.setattr(tiled, "_LOGITS", 4000)
    monkeypatch.setattr(tiled, "_DIFFERENCES", 6000)
    got = everything("l1", given, "tiled", is_causal=True, window=40, dropout_p=0.2, seed=1)
    for what, value in wanted.items():
        torch.testing.assert_close(got[what], value, msg=what)


@pytest.mark.parametrize("engine", ENGINES)
def test_operators_keep_the_rules_of_torch(engine: str) -> None:
    q, k, v = (torch.randn(1, 2, 5, 4, requires_grad=True) for _ in range(3))
    p = torch.tensor([1.5, 3.0], requires_grad=True)
    mask, seed = torch.randn(1, 1, 5, 5), torch.tensor(3)
    strength = torch.tensor([0.5, 1.5], requires_grad=True)
    call = (q, k, v, strength, p, engine, "lp", mask, None, True, 0, 3, None, 0.2, seed)
    torch.library.opcheck(torch.ops.heed.distance_forward.default, call)
    out, lse, _, *rows = torch.ops.heed.distance_forward(*(x.detach() if isinstance(x, Tensor) else x for x in call))
    call = tuple(x.detach() if isinstance(x, Tensor) else x for x in call)
    backward = (*call, out, *rows, torch.randn_like(out), torch.randn_like(lse), True, True)
    torch.library.opcheck(torch.ops.heed.distance_backward.default, backward)


@pytest.mark.parametrize("asked", ["input", "lam"])
@pytest.mark.parametrize(
    ("engine", "name"),
    [*(("sdpa", name) for name in SMOOTH), *((engine, "l1") for engine in ENGINES[:1]),
     pytest.param("fused", "l1", marks=needs_kernel)],
)  # fmt: skip
def test_a_second_derivative_is_refused_with_the_way_out(engine: str, name: str, asked: str) -> None:
    x, lam = torch.randn(1, 1, 3, 4), torch.ones(1)
    wanted = {"input": x, "lam": lam}[asked].requires_grad_()
    out = distance_attention(x, x, x, metric=name, lam=lam, backend=engine)
    (grad,) = torch.autograd.grad(out.square().sum(), wanted, create_graph=True)
    with pytest.raises(InputError, match='backend="reference"'):
        grad.sum().backward()


def test_torch_func_differentiates_the_path_of_torch_once() -> None:
    q, k, v = torch.randn(3, 2, 1, 3, 4)

    def loss(q: Tensor) -> Tensor:
        return distance_attention(q[None], k[:1], v[:1], metric="cosine", backend="sdpa").square().sum()

    def by_definition(q: Tensor) -> Tensor:
        return distance_attention(q[None], k[:1], v[:1], metric="cosine", backend="reference").square().sum()

    torch.testing.assert_close(torch.func.grad(loss)(q[0]), torch.func.grad(by_definition)(q[0]))
    with pytest.raises(InputError, match='backend="reference"'):
        torch.func.grad(lambda q: torch.func.grad(loss)(q).sum())(q[0])


def test_asking_for_more_does_not_change_the_output() -> None:
    q, k, v, lam = inputs("sqeuclidean", 63, 63)
    for backend in ("tiled", "sdpa", *(["fused"] if native.status().available else [])):
        options = {"metric": "sqeuclidean", "lam": lam, "enable_gqa": True, "backend": backend}
        out, _ = distance_attention(q, k, v, return_aux=AUX, **options)
        assert torch.equal(out, distance_attention(q, k, v, **options))


def test_engines_share_one_operator() -> None:
    assert set(fused._HOMES) == {"fused", "triton", "tiled"}
