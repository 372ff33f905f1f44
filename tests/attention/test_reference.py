"""The specification against the formula written out, its conventions, and its derivatives of any order."""

import pytest
import torch
from torch import Tensor

from heed.attention import METRICS, distance_attention
from heed.attention.distance import reference
from heed.attention.distance.read import read

P = {"lp": 2.5, "smooth_chebyshev": 6.0}
AUX = ("weights", "lse", "entropy", "max_probability", "mean_distance")


def inputs(rows: int = 5, keys: int = 7, width: int = 4, heads: int = 4, groups: int = 4) -> tuple[Tensor, ...]:
    shapes = ((2, heads, rows, width), (2, groups, keys, width), (2, groups, keys, 3))
    return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def attend(*tensors: Tensor, **options: object) -> tuple[Tensor, ...]:
    out, aux = distance_attention(*tensors, backend="reference", return_aux=AUX, **options)
    return out, *aux


@pytest.mark.parametrize("name", METRICS)
def test_attention_is_the_formula_written_out(name: str) -> None:
    q, k, v = inputs(groups=2)
    lam = torch.rand(4, dtype=torch.float64) + 0.5
    bias = torch.randn(4, 5, 7, dtype=torch.float64)
    out, weights, lse, entropy, top, mean = attend(
        q, k, v, metric=name, p=P.get(name), lam=lam, scale=0.7, attn_mask=bias, enable_gqa=True
    )
    for b in range(2):
        for h in range(4):
            power = torch.full((1, 1), P.get(name, 1.0), dtype=torch.float64)
            distance = METRICS[name].distance(q[b, h], k[b, h // 2], power)
            s = -lam[h] * 0.7 * distance + bias[h]
            p = s.exp() / s.exp().sum(-1, keepdim=True)
            torch.testing.assert_close(out[b, h], p @ v[b, h // 2])
            torch.testing.assert_close(weights[b, h], p)
            torch.testing.assert_close(lse[b, h], s.exp().sum(-1).log())
            torch.testing.assert_close(entropy[b, h], -(p * p.log()).sum(-1))
            torch.testing.assert_close(top[b, h], p.max(-1).values)
            torch.testing.assert_close(mean[b, h], (p * distance).sum(-1))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("q_offset", [None, 0, 4])
def test_positions_decide_what_is_seen(causal: bool, window: int | None, q_offset: int | None) -> None:
    q, k, v = inputs()
    weights = attend(q, k, v, is_causal=causal, window=window, q_offset=q_offset)[1]
    for row in range(5):
        i = row + (2 if q_offset is None else q_offset)
        for j in range(7):
            seen = (not causal or j <= i) and (window is None or abs(i - j) < window)
            assert bool((weights[:, :, row, j] > 0).all()) == seen


def test_masks_hide_the_same_keys_in_all_their_forms() -> None:
    q, k, v = inputs()
    real = torch.ones(2, 7, dtype=torch.bool)
    real[1, 3:] = False
    boolean = real[:, None, None]
    additive = torch.zeros(2, 1, 1, 7).masked_fill(~boolean, -torch.inf)
    wanted = attend(q, k, v, key_mask=real)
    for form in ({"attn_mask": boolean}, {"attn_mask": additive}, {"key_mask": real, "attn_mask": boolean}):
        for got, value in zip(attend(q, k, v, **form), wanted, strict=True):
            torch.testing.assert_close(got, value)


def test_alibi_adds_its_slope_for_each_step() -> None:
    q, k, v = inputs()
    slopes = torch.tensor([0.5, 0.25, 0.125, 0.0625], dtype=torch.float64)
    back = (torch.arange(5)[:, None] + 2 - torch.arange(7)).abs()
    wanted = attend(q, k, v, attn_mask=-slopes.view(-1, 1, 1) * back)
    for got, value in zip(attend(q, k, v, alibi_slopes=slopes), wanted, strict=True):
        torch.testing.assert_close(got, value)


@pytest.mark.parametrize("name", METRICS)
def test_a_row_that_sees_nothing_is_zero_and_has_no_gradient(name: str) -> None:
    q, k, v = (x.requires_grad_() for x in inputs())
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    out, weights, lse, *statistics = attend(q, k, v, metric=name, p=P.get(name), attn_mask=mask)
    assert (out[:, :, 2] == 0).all()
    assert (weights[:, :, 2] == 0).all()
    assert (lse[:, :, 2] == -torch.inf).all()
    assert all((values[:, :, 2] == 0).all() for values in statistics)
    grads = torch.autograd.grad(out.sum() + lse[:, :, :2].sum(), (q, k, v))
    assert all(grad.isfinite().all() for grad in grads)
    assert (grads[0][:, :, 2] == 0).all()


@pytest.mark.parametrize("name", METRICS)
def test_first_derivatives(name: str) -> None:
    q, k, v = (x[:1].clone().requires_grad_() for x in inputs(3, 4, 4, 2, 1))
    lam = (torch.rand(2, dtype=torch.float64) + 0.5).requires_grad_()
    bias = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    p = torch.tensor([P[name], P[name] + 1], dtype=torch.float64, requires_grad=True) if name in P else None

    def attention(*given: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v, lam, bias, *p = given
        options = {"metric": name, "p": p[0] if p else None, "lam": lam, "attn_mask": bias, "scale": 1.0}
        out, aux = distance_attention(
            q, k, v, **options, dropout_p=0.3, seed=5, enable_gqa=True, backend="reference", return_aux=("lse",)
        )
        return out, aux.lse

    given = (q, k, v, lam, bias) if p is None else (q, k, v, lam, bias, p)
    assert torch.autograd.gradcheck(attention, given, fast_mode=True)


@pytest.mark.parametrize("name", METRICS)
def test_second_derivatives(name: str) -> None:
    q, k, v = (x[:1, :1].clone().requires_grad_() for x in inputs(2, 3))
    options = {"metric": name, "p": P.get(name), "backend": "reference"}
    assert torch.autograd.gradgradcheck(lambda *x: distance_attention(*x, **options), (q, k, v), fast_mode=True)


def test_stretches_of_rows_give_what_one_piece_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (x.requires_grad_() for x in inputs(rows=63))
    options = {"metric": "l2", "is_causal": True, "q_offset": -3, "dropout_p": 0.2, "seed": 3}

    def everything() -> list[Tensor]:
        values = attend(q, k, v, **options)
        total = sum(x.masked_fill(x.isinf(), 0).square().sum() for x in values[:3])
        first = torch.autograd.grad(total, (q, k, v), create_graph=True)
        return [*values, *first, *torch.autograd.grad(first[0].square().sum(), (q, k, v))]

    wanted = everything()
    monkeypatch.setattr(reference, "_ELEMENTS", 1000)
    for got, value in zip(everything(), wanted, strict=True):
        torch.testing.assert_close(got, value)


def test_16_bits_are_computed_in_32() -> None:
    q, k, v = (x.to(torch.bfloat16) for x in inputs())
    exact = attend(q.float(), k.float(), v.float())
    out, *rest = attend(q, k, v)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, exact[0].bfloat16())
    assert all(torch.equal(*pair) for pair in zip(rest, exact[1:], strict=True))


def test_autocast_rounds_nothing() -> None:
    q, k, v = (x.float() for x in inputs())
    wanted = attend(q, k, v, metric="dot")
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(*pair) for pair in zip(attend(q, k, v, metric="dot"), wanted, strict=True))


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    q, k = torch.randn(2, 1, 4, 63, 8)
    k = k[:, :, :50]
    plain = attend(q, k, torch.eye(50).expand(1, 4, 50, 50))[1]
    dropped = attend(q, k, torch.eye(50).expand(1, 4, 50, 50), dropout_p=0.3, seed=1)[0]
    kept = dropped > 0
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=0.015)  # four deviations of 12,600 draws
    torch.testing.assert_close(dropped[kept], (plain / 0.7)[kept])


def test_dropout_follows_its_seed_and_the_generator_of_torch() -> None:
    q, k, v = inputs()

    def dropped(seed: int | None) -> Tensor:
        return distance_attention(q, k, v, dropout_p=0.5, seed=seed, backend="reference")

    assert torch.equal(dropped(7), dropped(7))
    assert not torch.equal(dropped(7), dropped(8))
    torch.manual_seed(3)
    first = dropped(None)
    assert not torch.equal(first, dropped(None))
    torch.manual_seed(3)
    assert torch.equal(first, dropped(None))


def test_dropout_is_splitmix64() -> None:
    from heed.attention.distance.dropout import kept

    def by_integers(seed: int, head: int, row: int, key: int) -> bool:
        z = (seed + 0x9E3779B97F4A7C15 * (1 + (head << 40 ^ row << 20 ^ key))) % 2**64
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) % 2**64
        return (z ^ z >> 31) >> 40 >= round(0.4 * 2**24)

    seed = 2**63 - 25
    head, row, key = torch.arange(3).view(1, 3, 1, 1), torch.tensor([[0], [63], [2**20 - 1]]), torch.tensor([0, 99])
    wanted = [[[by_integers(seed, h, i, j) for j in (0, 99)] for i in (0, 63, 2**20 - 1)] for h in range(3)]
    assert kept(seed, 0.4, head, row, key)[0].tolist() == wanted


def test_unit_vectors_make_squared_l2_and_cosine_the_same() -> None:
    q, k, v = inputs()
    q, k = (x / x.norm(dim=-1, keepdim=True) for x in (q, k))
    squared = attend(q, k, v, metric="sqeuclidean", scale=1.0)[0]
    torch.testing.assert_close(squared, attend(q, k, v, metric="cosine", scale=2.0)[0])


def test_l1_is_a_sum_of_problems_in_one_dimension() -> None:
    q, k, v = inputs()
    whole = attend(q, k, v, metric="l1", scale=1.0)[2].exp()
    parts = read(q, k, v, metric="l1", scale=1.0)
    logits = -sum(
        METRICS["l1"].distance(parts.call.q[..., d, None], parts.call.k[..., d, None], None) for d in range(4)
    )
    torch.testing.assert_close(logits.exp().sum(-1), whole)
