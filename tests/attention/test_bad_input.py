"""Every mistake is refused before anything runs, with what was expected and what was found."""

import json
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heed.attention import (
    AttentionConfig,
    AttentionModel,
    DistanceAttention,
    Metric,
    ModelConfig,
    MultiheadAttention,
    TokenEmbedding,
    distance_attention,
    explain,
    metric_of,
)
from heed.attention.distance import choose, native
from heed.errors import InputError

X = torch.zeros(2, 4, 9, 8)
HALF = torch.zeros(2, 2, 9, 8)

ARGUMENTS = [
    ({"metric": "minkovski"}, "did you mean 'lp'"),
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
    ({"window": 2**70}, r"window: expected a number of positions below 2\^62"),
    ({"q_offset": -(2**70)}, r"q_offset: expected a number of positions below 2\^62"),
    ({"window": 2.5}, r"window: expected a whole number of positions or None, found 2\.5"),
    ({"q_offset": "0"}, "q_offset: expected a whole number"),
    ({"dropout_p": 1.0}, "dropout_p: expected a number from 0 to below 1, found 1.0"),
    ({"dropout_p": "0.1"}, "dropout_p: expected a number .* found '0.1'"),
    ({"dropout_p": None}, "dropout_p: expected a number .* found None"),
    ({"dropout_p": 0.5, "seed": -1}, "seed: expected an integer"),
    ({"dropout_p": 0.5, "seed": 1.5}, "seed: expected an integer"),
    ({"return_aux": ("entropy", "wights")}, "return_aux: expected names among weights, .* found wights"),
    ({"return_aux": True}, "return_aux: expected names among weights, .* found True"),
    ({"return_aux": None}, "return_aux: expected names among weights, .* found None"),
    ({"return_aux": [1]}, r"return_aux: expected names among weights, .* found \[1\]"),
    ({"attn_mask": torch.zeros(9, 9).to_sparse()}, "attn_mask: expected a dense tensor, found torch.sparse_coo"),
    ({"backend": "cuda"}, "backend: expected auto, reference, .* found 'cuda'"),
    ({"attn_mask": X[..., :1].to("meta")}, "attn_mask: expected on cpu as q, found on meta"),
]

TENSORS = [
    ((X[0], X, X), r"q: expected a tensor \[batch, heads, positions, width\], found shape \(4, 9, 8\)"),
    (("x", X, X), "q: expected a tensor .* found str"),
    ((X, X.int(), X), "k: expected a floating-point dtype, found torch.int32"),
    ((X.to(torch.float8_e4m3fn),) * 3, "q: expected float32, .* found torch.float8_e4m3fn"),
    ((X, X.to_sparse(), X), "k: expected a dense tensor, found torch.sparse_coo"),
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("manhattan", "l1"),
        ("Taxicab", "l1"),
        ("euclidean", "l2"),
        ("squared-Euclidean", "sqeuclidean"),
        ("minkowski", "lp"),
        ("angular", "cosine"),
        ("max", "chebyshev"),
        ("dot product", "dot"),
    ],
)
def test_other_names_of_a_metric_lead_to_it(name: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{meant}'[?]"):
        metric_of(name)


def test_explain_takes_what_the_call_takes_and_nothing_else() -> None:
    with pytest.raises(InputError, match="found 'metrik'; did you mean 'metric'"):
        explain(X, X, X, metrik="cosine")
    with pytest.raises(InputError, match="return_aux"):
        explain(X, X, X, return_aux="weight")
    assert explain(X, X, X, metric="cosine", return_aux="lse", backend="sdpa").path == "sdpa"


OWN = [
    ({"name": "", "distance": sum}, "Metric: expected a name"),
    ({"distance": None}, r"Metric 'own': expected distance\(q, k, p\) to call, found None"),
    ({"distance": sum, "kernel": "foo"}, "Metric 'own': expected kernel 'dot', 'l1', .* or None, found 'foo'"),
]


@pytest.mark.parametrize(("fields", "message"), OWN)
def test_metric_of_ones_own(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Metric(**{"name": "own", **fields})


@pytest.mark.parametrize("scale", ["unit_variance", "sqrt_dim"])
def test_distance_of_ones_own_that_is_no_matrix(scale: str) -> None:
    own = Metric("own", lambda q, k, p: (q[..., :1, :] - k[..., :1, :]).abs())
    with pytest.raises(InputError, match=r"distance of a Metric: expected .* found .*q.unsqueeze"):
        distance_attention(X, X, X, metric=own, scale=scale)


def test_any_real_number_will_do() -> None:
    numbers = {"p": np.float32(3), "lam": Fraction(1, 2), "scale": np.float64(0.5)}
    q, k, v = torch.randn(3, 1, 2, 9, 8)
    got = distance_attention(q, k, v, metric="lp", **numbers)
    torch.testing.assert_close(got, distance_attention(q, k, v, metric="lp", p=3.0, lam=0.5, scale=0.5))
    config = AttentionConfig(metric="lp", p=np.float32(3), lambda_param=[np.float32(0.5), 1], window=np.int64(4))
    assert AttentionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


LAYER, TORCH = DistanceAttention(8, 2), MultiheadAttention(8, 2)
EMBEDDING = TokenEmbedding(5, 8)
MODEL = AttentionModel(ModelConfig(vocab_size=5, d_model=8, nhead=2, num_layers=1, dim_feedforward=8)).eval()
ROWS = torch.zeros(1, 3, 8)
LAYERS = [
    (lambda: TORCH(*[ROWS.int()] * 3), "query must be floating point, found torch.int32"),
    (lambda: TORCH(*[ROWS.tolist()] * 3), "query must be a tensor, found list"),
    (lambda: TORCH(ROWS, ROWS, ROWS.double()), "value must have the dtype of the layer's weights, torch.float32"),
    (lambda: LAYER(ROWS.double()), "hidden_states must have the dtype .* torch.float32, found torch.float64"),
    (lambda: LAYER(ROWS, ROWS.half()), "context must have the dtype .* found torch.float16"),
    (lambda: LAYER(ROWS.int()), "hidden_states must be floating point, found torch.int32"),
    (lambda: LAYER(ROWS.tolist()), "hidden_states must be a tensor, found list"),
    (lambda: MultiheadAttention.from_torch(nn.Linear(8, 8), metric="l1"), "torch.nn.MultiheadAttention, found Linear"),
    (lambda: EMBEDDING([1, 2]), "token ids must be a tensor, found list"),
    (lambda: EMBEDDING(torch.zeros(2)), "token ids must be int64 or int32, found torch.float32"),
    (lambda: TokenEmbedding.mapped(torch.zeros(5)), r"expected floating point \[tokens, width\], found .*\(5,\)"),
    (lambda: TokenEmbedding.mapped([[1.0]]), "expected floating point .* found list"),
    (lambda: MODEL([[1, 2]]), "token ids must be a tensor, found list"),
    (lambda: MODEL.generate([[1, 2]], 1), "token ids must be a tensor, found list"),
]


@pytest.mark.parametrize(("use", "message"), LAYERS)
def test_layer(use: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        use()


def test_autocast_may_bring_another_dtype() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert LAYER(ROWS.bfloat16()).dtype == torch.bfloat16
        assert TORCH(*[ROWS.bfloat16()] * 3)[0].dtype == torch.bfloat16


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


def test_a_call_that_is_slower_for_want_of_a_kernel_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "status", lambda: native.NativeStatus(False, "", "", "no C++ compiler here; get one"))
    choose._warn_of.cache_clear()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(2):
                distance_attention(X, X, X)
                nn.Sequential(LAYER)(ROWS)
    finally:
        choose._warn_of.cache_clear()
    (only,) = said
    assert (only.category, only.filename) == (RuntimeWarning, __file__)
    assert "without its CPU kernel, on a slower path: no C++ compiler here; get one" in str(only.message)


def test_triton_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match='backend="triton" cannot run this'):
        distance_attention(X, X, X, backend="triton")


def test_the_native_kernel_takes_no_tensors_of_other_devices() -> None:
    q = X.to("meta")
    with pytest.raises(InputError, match="runs on the CPU, the tensors are on meta"):
        distance_attention(q, q, q, backend="fused")
    assert explain(q, q, q).path == "tiled"
