"""The fast paths against the plain reference, with tolerances derived from a higher-precision truth."""

import pytest
import torch

from heed.attention.dot import fused, reference
from heed.attention.mask import Mask
from heed.attention.score import DotScore
from heed.attention.terms import Terms


def inputs(rows: int, keys: int, dtype: torch.dtype = torch.float32, value_width: int = 16, batch: int = 2):
    torch.manual_seed(0)
    return (
        torch.randn(batch, 4, rows, 16).to(dtype),
        torch.randn(batch, 2, keys, 16).to(dtype),
        torch.randn(batch, 2, keys, value_width).to(dtype),
    )


def windowed(rows: int, window: int) -> Mask:
    i = torch.arange(rows)
    pattern = ((i[None, :] <= i[:, None]) & (i[None, :] > i[:, None] - window))[None]
    return Mask.build(lambda first, count: pattern[:, first : first + count], rows)


def cases(rows: int) -> dict[str, Terms]:
    torch.manual_seed(1)
    rule, causal = DotScore(0.3), Mask.causal(rows, rows)
    left = (torch.arange(rows)[None] >= torch.tensor([[rows // 3], [0]])).bool()
    bias = torch.randn(1, 4, rows, rows)
    sink = torch.randn(4)
    return {
        "causal": Terms(rule, causal),
        "full": Terms(rule, Mask.full(rows, rows)),
        "window": Terms(rule, windowed(rows, 5)),
        "left padding": Terms(rule, causal.padded(left)),
        "right padding": Terms(rule, causal.padded(left.flip(1))),
        "softcap": Terms(DotScore(0.3, 1.5), causal),
        "softcap and window": Terms(DotScore(0.3, 1.5), windowed(rows, 5)),
        "bias": Terms(rule, causal, bias),
        "sink": Terms(rule, causal, sink=sink),
        "sink and window": Terms(rule, windowed(rows, 5), sink=sink),
    }


@pytest.fixture(params=["fused", "plain"])
def path(request, monkeypatch):
    """The private operator, and the fallback that runs where it is missing."""
    if request.param == "plain":
        monkeypatch.setattr(fused, "lse_source", lambda: fused.LseSource(False, "switched off by the test"))
    return request.param


@pytest.mark.parametrize("rows", [1, 63, 100])
@pytest.mark.parametrize("case", list(cases(1)))
def test_output_and_lse_equal_the_reference(case: str, rows: int, path: str, monkeypatch) -> None:
    monkeypatch.setattr(fused, "_BLOCK_ELEMENTS", 1 << 10)  # several stretches of rows
    terms = cases(rows)[case]
    q, k, v = inputs(rows, rows)
    got = fused.attend(q, k, v, terms)
    seen = ~terms.mask.empty_rows().expand(2, -1)
    truth = reference.attend(q.double(), k.double(), v.double(), terms)
    picked = seen[:, None, :, None].expand_as(truth)
    assert float((got.out - truth).abs()[picked].max()) < 5e-6
    wanted = fused.row_lse(q, k, terms)
    if got.lse is not None:
        picked = seen[:, None].expand_as(wanted)
        assert float((got.lse - wanted).abs()[picked].max()) < 1e-5
    if path == "plain" and terms.rule.softcap is None and terms.sink is None:
        assert got.lse is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [1, 63, 100])
def test_low_precision_is_at_most_twice_as_wrong_as_plain_low_precision(dtype, rows, path) -> None:
    q, k, v = inputs(rows, rows, dtype)
    for name, terms in cases(rows).items():
        truth = reference.attend(q.double(), k.double(), v.double(), terms)
        plain_p = reference.weights(q, k, terms).to(dtype)
        plain = plain_p @ v.repeat_interleave(2, 1)
        seen = ~terms.mask.empty_rows().expand(2, -1)[:, None, :, None].expand_as(truth)
        allowed = 2 * (plain.double() - truth)[seen].square().mean().sqrt() + torch.finfo(dtype).eps
        assert (fused.attend(q, k, v, terms).out.double() - truth)[seen].square().mean().sqrt() <= allowed, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_does_not_depend_on_what_comes_after(dtype) -> None:
    """Regression: in bf16 a prompt of 25 tokens read differently alone than beside one of 42."""
    q, k, v = inputs(100, 100, dtype)
    whole = fused.attend(q, k, v, Terms(DotScore(0.3), Mask.causal(100, 100))).out
    for rows in (25, 31, 42, 63):
        short = fused.attend(
            q[:, :, :rows], k[:, :, :rows], v[:, :, :rows], Terms(DotScore(0.3), Mask.causal(rows, rows))
        ).out
        assert torch.equal(short, whole[:, :, :rows])


@pytest.mark.parametrize("value_width", [8, 16, 24])
def test_value_width_may_differ(value_width: int) -> None:
    q, k, v = inputs(33, 33, value_width=value_width)
    terms = Terms(DotScore(0.25), Mask.causal(33, 33))
    got = fused.attend(q, k, v, terms).out
    assert got.shape[-1] == value_width
    assert float((got - reference.attend(q, k, v, terms)).abs().max()) < 5e-6


def test_rows_after_a_past_equal_the_same_rows_of_the_whole() -> None:
    q, k, v = inputs(40, 40)
    whole = fused.attend(q, k, v, Terms(DotScore(0.25), Mask.causal(40, 40)))
    later = fused.attend(q[:, :, 25:], k, v, Terms(DotScore(0.25), Mask.causal(15, 40, q_offset=25)))
    assert float((whole.out[:, :, 25:] - later.out).abs().max()) < 2e-6


def test_lse_source_names_what_is_used(monkeypatch) -> None:
    source = fused.lse_source()
    assert source.fused
    assert "agrees with plain torch" in source.reason

    def broken(*args, **kwargs):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(fused, "_flash_cpu", broken)
    assert "cannot be called: no such operator" in fused.lse_source.__wrapped__().reason
    monkeypatch.setattr(fused, "_flash_cpu", lambda q, k, v, **_: (q, q[..., 0]))
    wrong = fused.lse_source.__wrapped__()
    assert not wrong.fused
    assert "differs from plain torch" in wrong.reason
