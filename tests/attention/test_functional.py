"""What `distance_attention` promises beside its numbers: values on request, a choice of path, torch's transforms."""

import logging

import pytest
import torch
from torch import Tensor

import heed.attention
from heed.attention import Metric, distance_attention, explain
from heed.attention.distance import choose, native
from heed.attention.metric import METRICS

AUX = ("weights", "lse", "entropy", "max_probability", "mean_distance")
SQUARE_ROOTS = Metric("square roots", lambda q, k, p: (q.unsqueeze(-2) - k.unsqueeze(-3)).abs().sqrt().sum(-1))


def inputs(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, *(shape or (2, 4, 9, 8)))
    return q, k, v


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a compiler and without a wheel's kernel."""
    status = native.NativeStatus(False, "", "", "no C++ compiler was found")
    monkeypatch.setattr(native, "status", lambda: status)


def test_only_what_was_asked_for_comes_back() -> None:
    q, k, v = inputs()
    out = distance_attention(q, k, v)
    assert isinstance(out, Tensor)
    for name in AUX:
        again, aux = distance_attention(q, k, v, return_aux=[name])
        assert torch.equal(again, out)
        assert [field for field, value in aux._asdict().items() if value is not None] == [name]


def test_row_values_are_those_of_the_weights() -> None:
    q, k, v = inputs()
    _, aux = distance_attention(q, k, v, metric="cosine", lam=3.0, is_causal=True, return_aux=AUX)
    p = aux.weights
    torch.testing.assert_close(p.sum(-1), torch.ones(2, 4, 9))
    torch.testing.assert_close(torch.special.entr(p).sum(-1), aux.entropy)
    torch.testing.assert_close(p.amax(-1), aux.max_probability)
    torch.testing.assert_close((p * METRICS["cosine"].distance(q, k, None)).sum(-1), aux.mean_distance)


@pytest.mark.parametrize("backend", ["reference", "tiled", "auto"])
def test_weights_and_lse_have_gradients_and_statistics_have_none(backend: str) -> None:
    q, k, v = inputs()
    q.requires_grad_()
    _, aux = distance_attention(q, k, v, return_aux=AUX, backend=backend)
    assert [getattr(aux, name).requires_grad for name in AUX] == [True, True, False, False, False]


@pytest.mark.parametrize("lam", [2.0, torch.tensor(2.0), torch.full((4,), 2.0)])
def test_lambda_may_be_a_number_or_a_tensor(lam: float | Tensor) -> None:
    q, k, v = inputs()
    out = distance_attention(q, k, v, lam=lam, scale="sqrt_dim")
    torch.testing.assert_close(out, distance_attention(q, k, v, scale=2 / 8**0.5, backend="reference"))


def test_scales_are_what_they_are_called() -> None:
    q, k, v = inputs()
    for name, c in (("sqrt_dim", 8**-0.5), ("unit_variance", METRICS["l2"].calibrated(8))):
        out = distance_attention(q, k, v, metric="l2", scale=name)
        torch.testing.assert_close(out, distance_attention(q, k, v, metric="l2", scale=c))


def test_dot_with_the_scale_of_sdpa_is_sdpa() -> None:
    q, k, v = inputs()
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(distance_attention(q, k, v, metric="dot", scale="sqrt_dim", is_causal=True), wanted)


def test_lambda_for_each_head_with_shared_keys() -> None:
    q, k, v = inputs()
    k, v = k[:, :2], v[:, :2]
    lam = torch.tensor([0.5, 1.0, 2.0, 4.0])
    shared = distance_attention(q, k, v, metric="l2", lam=lam, enable_gqa=True)
    k, v = (x.repeat_interleave(2, 1) for x in (k, v))
    torch.testing.assert_close(shared, distance_attention(q, k, v, metric="l2", lam=lam, backend="reference"))


def test_a_metric_of_ones_own_takes_the_reference() -> None:
    q, k, v = inputs()
    assert explain(q, k, v, metric=SQUARE_ROOTS).path == "reference"
    half = distance_attention(q, k, v, metric="lp", p=0.5, scale=1.0, backend="reference", return_aux=("lse",))[1]
    mine = distance_attention(q.sqrt().abs(), k, v, metric=SQUARE_ROOTS, scale=1.0)
    assert mine.shape == v.shape
    assert half.lse.shape == q.shape[:3]


def test_autocast_says_which_dtype_is_meant() -> None:
    q, k, v = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        out = distance_attention(q, k.bfloat16(), v, metric="dot")
    assert torch.equal(out, distance_attention(*(x.bfloat16() for x in (q, k, v)), metric="dot"))


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"metric": "cosine"}, "sdpa"),
        ({"metric": "sqeuclidean", "is_causal": True}, "sdpa"),
        ({"metric": "dot", "dropout_p": 0.1}, "tiled"),
        ({"metric": "l1"}, "tiled"),
        ({"metric": "smooth_chebyshev", "p": 8.0}, "reference"),
        ({"attn_mask": torch.zeros(9, 9, requires_grad=True)}, "reference"),
    ],
)
def test_without_a_kernel_the_next_path_runs(options: dict, path: str) -> None:
    q, k, v = inputs()
    choice = explain(q, k, v, **options)
    assert choice.path == path
    if path != "reference":
        assert "no C++ compiler was found" in choice.reason
    options = {"seed": 1, **options}
    torch.testing.assert_close(
        distance_attention(q, k, v, **options), distance_attention(q, k, v, **options, backend="reference")
    )


@pytest.mark.usefixtures("no_kernel")
def test_a_choice_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    choose._tell.cache_clear()
    q, k, v = inputs()
    with caplog.at_level(logging.INFO, "heed"):
        for _ in range(3):
            distance_attention(q, k, v)
    assert [record.getMessage() for record in caplog.records] == [
        "distance attention runs on tiled: not fused: no C++ compiler was found; "
        "not sdpa: only dot, cosine, sqeuclidean reduce to scaled_dot_product_attention"
    ]


@pytest.mark.skipif(not native.status().available, reason="no kernel")
def test_the_kernel_is_the_first_choice() -> None:
    assert explain(*inputs()).path == "fused"


def test_transforms_of_torch_run_on_the_reference() -> None:
    q, k, v = inputs(3, 1, 2, 9, 8)

    def loss(q: Tensor, k: Tensor, v: Tensor, lam: Tensor) -> Tensor:
        return distance_attention(q, k, v, metric="l2", lam=lam, is_causal=True).square().sum()

    lam = torch.rand(3, 2) + 0.5
    grads = torch.func.vmap(torch.func.grad(loss))(q, k, v, lam)
    for i in range(3):
        given = q[i].requires_grad_()
        (wanted,) = torch.autograd.grad(loss(given, k[i], v[i], lam[i]), given)
        torch.testing.assert_close(grads[i], wanted)


class Layer(torch.nn.Module):
    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return distance_attention(q, k, v, is_causal=True, **self.options)


@pytest.mark.parametrize(
    "options", [{"metric": "l1"}, {"metric": "lp", "p": 2.5}, {"metric": "sqeuclidean", "backend": "sdpa"}]
)
def test_an_exported_graph_holds_standard_operations_for_any_length(options: dict) -> None:
    q, k, v = inputs(2, 4, 9, 10)  # a width whose calibration is not remembered from another test
    layer = Layer(**options)
    length = torch.export.Dim("length", min=2, max=200)
    shapes = {name: {2: length} for name in "qkv"}
    program = torch.export.export(layer, (q, k, v), dynamic_shapes=shapes)
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not [name for name in called if "heed" in name]
    other = inputs(2, 4, 63, 10)
    torch.testing.assert_close(program.module()(*other), layer(*other))


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "l1", "is_causal": True, "dropout_p": 0.2, "seed": 3},
        {"metric": "lp", "p": 2.5},
        {"metric": SQUARE_ROOTS},
    ],
)
def test_compiled_code_gives_what_eager_code_gives(options: dict) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return distance_attention(q, k, v, **options)

    q, k, v = (x.requires_grad_() for x in inputs())
    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")(q, k, v)
    plain = attend(q, k, v)
    torch.testing.assert_close(compiled, plain)
    weight = torch.randn_like(plain)
    for got, wanted in zip(
        *(torch.autograd.grad((out * weight).sum(), (q, k, v)) for out in (compiled, plain)), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_public_names_are_fetched_when_used() -> None:
    for name in heed.attention.__all__:
        assert getattr(heed.attention, name) is not None
    with pytest.raises(AttributeError, match="distance_attention"):
        _ = heed.attention.nothing


def test_smooth_chebyshev_takes_a_sharpness_for_each_head_and_learns_it() -> None:
    q, k, v = inputs(1, 3, 7, 8)
    sharpness = torch.tensor([2.0, 6.0, 20.0], requires_grad=True)
    out = distance_attention(q, k, v, metric="smooth_chebyshev", p=sharpness)
    for head, one in enumerate((2.0, 6.0, 20.0)):
        alone = distance_attention(*(x[:, [head]] for x in (q, k, v)), metric="smooth_chebyshev", p=one)
        torch.testing.assert_close(out[:, [head]], alone, atol=2e-6, rtol=0)
    (grad,) = torch.autograd.grad(out.square().sum(), sharpness)
    assert (grad != 0).all()
