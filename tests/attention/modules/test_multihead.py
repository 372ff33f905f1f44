"""`MultiheadAttention` beside torch's own, over its options."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heed.attention import METRICS, MultiheadAttention
from heed.errors import InputError

BATCH, ROWS, KEYS, WIDTH, HEADS = 3, 5, 7, 12, 4
NEEDS = {"lp": {"p": 3.0}, "smooth_chebyshev": {"beta": 2.0}}

Pair = tuple[nn.MultiheadAttention, MultiheadAttention]


def pair(**options: Any) -> Pair:
    """Torch's layer and ours with the same weights, biases not zero, in fp64."""
    theirs = nn.MultiheadAttention(WIDTH, HEADS, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_()
    return theirs, MultiheadAttention.from_torch(theirs, metric="dot", scale="sqrt_dim")


def inputs(kdim: int = WIDTH, vdim: int = WIDTH, *, batch_first: bool = True) -> list[Tensor]:
    shapes = ((BATCH, ROWS, WIDTH), (BATCH, KEYS, kdim), (BATCH, KEYS, vdim))
    made = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return [(x if batch_first else x.transpose(0, 1)).requires_grad_() for x in made]


def agree(both: Pair, arguments: list[Tensor], **call: Any) -> None:
    """Outputs, weights and the gradients of inputs and parameters are those of torch."""
    found = []
    for module in both:
        leaves = [x.detach().clone().requires_grad_() for x in arguments]
        module.zero_grad()
        out, weights = module(*leaves, **call)
        (out.sin().sum() + (0 if weights is None else weights.cos().sum())).backward()
        grads = {name: x.grad.clone() for name, x in module.named_parameters() if x.grad is not None}
        found.append((out, weights, [x.grad for x in leaves], grads))
    (out, weights, of_inputs, of_parameters), ours = found
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(ours[0], out, **close)
    assert (ours[1] is None) == (weights is None)
    if weights is not None:
        torch.testing.assert_close(ours[1], weights, **close)
    for ours_grad, theirs_grad in zip(ours[2], of_inputs, strict=True):
        torch.testing.assert_close(ours_grad, theirs_grad, **close)
    assert ours[3].keys() == of_parameters.keys()
    for name, grad in of_parameters.items():
        torch.testing.assert_close(ours[3][name], grad, **close)


def additive() -> Tensor:
    return torch.randn(ROWS, KEYS, dtype=torch.float64)


def hidden(*shape: int) -> Tensor:
    """True is hidden; the first key always shows."""
    mask = torch.rand(shape) < 0.4
    mask[..., 0] = False
    return mask


@pytest.mark.parametrize(
    ("batch_first", "bias", "add_bias_kv", "add_zero_attn", "widths"),
    list(itertools.product((True, False), (True, False), (True, False), (True, False), ((WIDTH, WIDTH), (5, 9)))),
)
def test_options_of_the_constructor(
    batch_first: bool, bias: bool, add_bias_kv: bool, add_zero_attn: bool, widths: tuple[int, int]
) -> None:
    kdim, vdim = widths
    both = pair(
        bias=bias,
        add_bias_kv=add_bias_kv,
        add_zero_attn=add_zero_attn,
        kdim=kdim,
        vdim=vdim,
        batch_first=batch_first,
    )
    agree(both, inputs(kdim, vdim, batch_first=batch_first), key_padding_mask=hidden(BATCH, KEYS))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("padding", ["none", "bool", "float"])
@pytest.mark.parametrize("mask", ["none", "bool", "float", "bool per head", "float per head"])
@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask and attn_mask")  # torch's, of one kind each
def test_masks(need_weights: bool, average: bool, padding: str, mask: str, extra: bool) -> None:
    masks = {
        "none": None,
        "bool": hidden(ROWS, KEYS),
        "float": additive(),
        "bool per head": hidden(BATCH * HEADS, ROWS, KEYS),
        "float per head": torch.randn(BATCH * HEADS, ROWS, KEYS, dtype=torch.float64),
    }
    paddings = {"none": None, "bool": hidden(BATCH, KEYS), "float": torch.randn(BATCH, KEYS, dtype=torch.float64)}
    agree(
        pair(batch_first=True, add_bias_kv=extra, add_zero_attn=extra),
        inputs(),
        need_weights=need_weights,
        average_attn_weights=average,
        key_padding_mask=paddings[padding],
        attn_mask=masks[mask],
    )


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_single_sequence(need_weights: bool, batch_first: bool) -> None:
    arguments = [x[0] for x in inputs()]
    mask = hidden(HEADS, ROWS, KEYS)
    call = {"need_weights": need_weights, "attn_mask": mask, "key_padding_mask": hidden(KEYS)}
    agree(pair(batch_first=batch_first), arguments, **call)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_the_causal_hint(need_weights: bool, padded: bool) -> None:
    x = torch.randn(BATCH, ROWS, WIDTH, dtype=torch.float64)
    mask = torch.ones(ROWS, ROWS, dtype=torch.bool).triu(1)
    padding = hidden(BATCH, ROWS) if padded else None
    call = {"is_causal": True, "attn_mask": mask, "need_weights": need_weights, "key_padding_mask": padding}
    agree(pair(batch_first=True), [x, x, x], **call)


def test_the_causal_hint_with_appended_keys_obeys_the_mask() -> None:
    x = torch.randn(BATCH, ROWS, WIDTH, dtype=torch.float64)
    mask = torch.ones(ROWS, ROWS, dtype=torch.bool).triu(1)
    both = pair(batch_first=True, add_bias_kv=True, add_zero_attn=True)
    agree(both, [x, x, x], is_causal=True, attn_mask=mask, need_weights=True)


def test_self_attention_takes_one_product_and_the_same_gradients() -> None:
    theirs, ours = pair(batch_first=True)
    x = torch.randn(BATCH, ROWS, WIDTH, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(theirs(x, x, x)[0].sin().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(ours(x, x, x)[0].sin().sum(), x)[0], wanted)


def test_single_precision_is_at_most_twice_as_wrong_as_torch() -> None:
    theirs, _ = pair(batch_first=True)
    arguments = [x.detach() for x in inputs()]
    truth = theirs(*arguments)[0]
    single = theirs.float()
    narrow = [x.float() for x in arguments]
    plain = (single(*narrow)[0].double() - truth).abs().max()
    ours = MultiheadAttention.from_torch(single, metric="dot")(*narrow)[0].double()
    assert (ours - truth).abs().max() <= 2 * plain + torch.finfo(torch.float32).eps * truth.abs().max()


@pytest.mark.parametrize("options", [{}, {"kdim": 5, "vdim": 9}, {"add_bias_kv": True}, {"bias": False}])
def test_seeded_alike_both_start_alike_and_exchange_state(options: dict[str, Any]) -> None:
    torch.manual_seed(3)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, **options)
    torch.manual_seed(3)
    ours = MultiheadAttention(WIDTH, HEADS, metric="l1", **options)
    state = ours.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(state[name], tensor)
    theirs.load_state_dict(state)


def test_a_learned_lambda_joins_the_state_and_comes_back() -> None:
    layer = MultiheadAttention(WIDTH, HEADS, metric="l2", learnable_lambda=True, lambda_param=2.5)
    assert set(layer.state_dict()) - set(nn.MultiheadAttention(WIDTH, HEADS).state_dict()) == {"mechanism.log_lambda"}
    with torch.no_grad():
        layer.mechanism.log_lambda.add_(0.5)
    again = MultiheadAttention(WIDTH, HEADS, metric="l2", learnable_lambda=True)
    again.load_state_dict(layer.state_dict())
    x = torch.randn(ROWS, BATCH, WIDTH)
    assert torch.equal(again(x, x, x)[0], layer(x, x, x)[0])


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_every_metric_runs_and_trains(metric: str) -> None:
    layer = MultiheadAttention(8, 2, batch_first=True, metric=metric, learnable_lambda=True, **NEEDS.get(metric, {}))
    x = torch.randn(2, 6, 8)
    out, weights = layer(x, x, x)
    out.square().sum().backward()
    assert weights is not None
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6))
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())


def test_tied_starts_the_keys_as_the_queries_and_lets_them_go() -> None:
    layer = MultiheadAttention(WIDTH, HEADS, init_qk="tied", vdim=5)
    assert layer.q_proj_weight is not None
    assert layer.k_proj_weight is not None
    assert torch.equal(layer.q_proj_weight, layer.k_proj_weight)
    assert layer.q_proj_weight.data_ptr() != layer.k_proj_weight.data_ptr()


def test_a_row_that_may_see_nothing_gives_zeros() -> None:
    layer = MultiheadAttention(WIDTH, HEADS, batch_first=True, metric="l1")
    x = torch.randn(2, 4, WIDTH)
    out, weights = layer(x, x, x, key_padding_mask=torch.tensor([[True] * 4, [False] * 4]))
    assert weights is not None
    assert torch.equal(weights[0], torch.zeros(4, 4))
    assert bool(out.isfinite().all())


def test_dropout_acts_in_training_alone() -> None:
    layer = MultiheadAttention(WIDTH, HEADS, dropout=0.5, batch_first=True)
    x = torch.randn(2, 9, WIDTH)
    assert not torch.equal(layer(x, x, x)[0], layer(x, x, x)[0])
    layer.eval()
    assert torch.equal(layer(x, x, x)[0], layer(x, x, x)[0])


X = torch.randn(3, 5, WIDTH)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 5}, "does not divide 12"),
        ({"metric": "l11"}, "'l1'"),
        ({"metric": "lp"}, "needs p > 0"),
        ({"metric": "lp", "p": 0.0}, "finite number > 0"),
        ({"metric": "lp", "p": -1.0}, "finite number > 0"),
        ({"metric": "l1", "p": 2.0}, "takes no p"),
        ({"metric": ("l1", "l2")}, "one entry for each of the 4 heads"),
        ({"lambda_param": 0.0}, "lambda_param must be"),
        ({"lambda_param": 101.0, "learnable_lambda": True}, "at most 100"),
        ({"dropout": 1.0}, r"lie in \[0, 1\)"),
        ({"init_qk": "tied", "kdim": 5}, "kdim == embed_dim"),
        ({"init_qk": "shared"}, "tied, independent"),
        ({"backend": "fast"}, "backend must be one of"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiheadAttention(WIDTH, **{"num_heads": HEADS, **options})


@pytest.mark.parametrize(
    ("arguments", "call", "message"),
    [
        ((X, X[..., :5], X), {}, r"key must be \[tokens, 12\]"),
        ((X, X[0], X[0]), {}, "alike for query, key and value"),
        ((X, X, X[:, :4]), {}, "key and value the length"),
        ((X, X[:2], X[:2]), {}, "share the batch"),
        ((X, X, X), {"is_causal": True}, "hint about attn_mask"),
        ((X, X, X), {"attn_mask": torch.zeros(5, 4)}, r"attn_mask must be \(5, 5\)"),
        ((X, X, X), {"attn_mask": torch.zeros(3, 5, 5)}, r"attn_mask must be"),
        ((X, X, X), {"attn_mask": torch.zeros(5, 5, dtype=torch.int64)}, "boolean"),
        ((X, X, X), {"key_padding_mask": torch.zeros(3, 4)}, r"key_padding_mask must be \(3, 5\)"),
        ((X, X, X), {"key_padding_mask": torch.zeros(3, 5, dtype=torch.uint8)}, "boolean"),
    ],
)
def test_bad_calls(arguments: tuple[Tensor, ...], call: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiheadAttention(WIDTH, HEADS, batch_first=True)(*arguments, **call)
