"""Every mistake is refused before anything runs, with what was expected and what was found."""

from typing import Any

import pytest
import torch
from torch import Tensor

from heed.attention import distance_attention, explain
from heed.attention.distance import native
from heed.errors import InputError

X = torch.zeros(2, 4, 9, 8)
HALF = torch.zeros(2, 2, 9, 8)

ARGUMENTS = [
    ({"metric": "l3"}, "expected one of dot, l1, .* found 'l3'; did you mean"),
    ({"metric": "lp"}, "'lp' needs p > 0, found None"),
    ({"metric": "lp", "p": 0.0}, "p: expected a finite number above 0.* found 0.0"),
    ({"metric": "lp", "p": -1}, "p: expected .* found -1"),
    ({"metric": "lp", "p": float("inf")}, "p: expected a finite number"),
    ({"metric": "lp", "p": torch.tensor([1.0, -2.0, 1.0, 1.0])}, "p: expected values above 0, found"),
    ({"metric": "lp", "p": torch.tensor([1.0, 2.0])}, r"p: expected a number or one for each of 4 heads, found \(2,\)"),
    ({"metric": "l1", "p": 2.0}, "metric 'l1' has no parameter p"),
    ({"lam": 0}, "lam: expected .* found 0"),
    ({"lam": float("nan")}, "lam: expected .* found nan"),
    ({"lam": torch.tensor([1.0, 1.0, 0.0, 1.0])}, "lam: expected values above 0.*logarithm"),
    ({"lam": torch.ones(3)}, "lam: expected a number or one for each of 4 heads"),
    ({"lam": torch.ones(4, dtype=torch.int64)}, "lam: expected a floating-point tensor"),
    ({"scale": "sqrt"}, "scale: expected 'sqrt_dim', 'unit_variance' or a number > 0, found 'sqrt'"),
    ({"scale": -1.0}, "scale: expected .* found -1.0"),
    (
        {"attn_mask": torch.zeros(9, 8)},
        r"attn_mask: expected a shape that broadcasts to \(2, 4, 9, 9\), found \(9, 8\)",
    ),
    ({"attn_mask": torch.zeros(1, 2, 4, 9, 9)}, "attn_mask: expected a shape"),
    ({"attn_mask": torch.zeros(9, 9, dtype=torch.int64)}, "attn_mask: expected bool .* found torch.int64"),
    ({"attn_mask": [[True]]}, "attn_mask: expected a tensor, found list"),
    ({"key_mask": torch.zeros(2, 9)}, r"key_mask: expected bool \(2, 9\) .* found torch.float32"),
    ({"key_mask": torch.zeros(9, dtype=torch.bool)}, r"key_mask: expected bool \(2, 9\)"),
    ({"alibi_slopes": torch.ones(3)}, "alibi_slopes: expected one float for each of 4 heads"),
    ({"window": 0}, "window: expected at least 1"),
    ({"window": 2.5}, r"window: expected a whole number of positions or None, found 2\.5"),
    ({"q_offset": "0"}, "q_offset: expected a whole number"),
    ({"dropout_p": 1.0}, "dropout_p: expected at least 0 and below 1, found 1.0"),
    ({"dropout_p": 0.5, "seed": -1}, "seed: expected an integer"),
    ({"dropout_p": 0.5, "seed": 1.5}, "seed: expected an integer"),
    ({"return_aux": ("entropy", "wights")}, "return_aux: expected names among weights, .* found wights"),
    ({"backend": "cuda"}, "backend: expected auto, reference, .* found 'cuda'"),
    ({"attn_mask": X[..., :1].to("meta")}, "attn_mask: expected on cpu as q, found on meta"),
]

TENSORS = [
    ((X[0], X, X), r"q: expected a tensor \[batch, heads, positions, width\], found shape \(4, 9, 8\)"),
    (("x", X, X), "q: expected a tensor .* found str"),
    ((X, X.int(), X), "k: expected a floating-point dtype, found torch.int32"),
    ((X, X[:, :, :0], X[:, :, :0]), "k: expected at least one of everything"),
    ((X, X[:1], X[:1]), "expected one batch size"),
    ((X, X[..., :4], X), "expected q and k of one width"),
    ((X, X, X[:, :, :5]), "expected as many heads and positions in v as in k"),
    ((X, HALF, HALF), "expected as many heads in k as in q, .* pass enable_gqa=True"),
    ((X, X, X.double()), "expected one dtype for q, k and v, found torch.float32, torch.float32, torch.float64"),
    ((X, X.to("meta"), X), "expected q, k and v on one device, found cpu, meta, cpu"),
]


@pytest.mark.parametrize(("options", "message"), ARGUMENTS)
def test_argument(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        distance_attention(X, X, X, **options)


@pytest.mark.parametrize(("tensors", "message"), TENSORS)
def test_tensor(tensors: tuple[Tensor, Tensor, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        distance_attention(*tensors)


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(InputError, match="query heads to be a multiple of key heads"):
        distance_attention(X, X[:, :3], X[:, :3], enable_gqa=True)


def test_pairs_need_an_even_width() -> None:
    with pytest.raises(InputError, match=r"even head width .* found 7"):
        distance_attention(X[..., :7], X[..., :7], X, metric="l21")


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        ("sdpa", {"metric": "l1"}, "only dot, cosine, sqeuclidean reduce"),
        ("sdpa", {"metric": "dot", "dropout_p": 0.5}, "dropout cannot be seeded"),
        ("tiled", {"metric": "smooth_chebyshev", "p": 4.0}, "has no kernel"),
        ("tiled", {"attn_mask": torch.zeros(9, 9, requires_grad=True)}, "require a gradient"),
        ("fused", {"alibi_slopes": torch.zeros(4, requires_grad=True)}, "require a gradient"),
    ],
)
def test_a_named_backend_runs_or_says_why_not(backend: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f'backend="{backend}" cannot run this: .*{message}.* backend="auto"'):
        distance_attention(X, X, X, backend=backend, **options)


def test_a_missing_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = native.NativeStatus(False, "", "", "no C++ compiler was found")
    monkeypatch.setattr(native, "status", lambda: missing)
    with pytest.raises(InputError, match=r"no C\+\+ compiler was found"):
        distance_attention(X, X, X, backend="fused")


def test_triton_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match='backend="triton" cannot run this'):
        distance_attention(X, X, X, backend="triton")


def test_the_native_kernel_takes_no_tensors_of_other_devices() -> None:
    q = X.to("meta")
    with pytest.raises(InputError, match="runs on the CPU, the tensors are on meta"):
        distance_attention(q, q, q, backend="fused")
    assert explain(q, q, q).path == "tiled"
