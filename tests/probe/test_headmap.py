"""One head cut out of a view: blocks against the dense map, for every rule, mask and number format."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heed.attention.dot import reference
from heed.attention.dot.fused import attend
from heed.attention.mask import Mask
from heed.attention.score import DistanceScore, DotScore, MixedScore
from heed.attention.terms import Terms
from heed.probe import headmap as headmap_module
from heed.probe.headmap import HeadMap
from heed.probe.view import LayerKey, LayerView

ROWS = 63
DISTANCE = DistanceScore("l1", (0.3, 0.7, 1.0, 2.0))
RULES = {
    "dot": DotScore(0.5),
    "capped": DotScore(0.5, 1.5),
    "distance": DISTANCE,
    "one strength": DistanceScore("l2", (0.7,)),
    "mixed": MixedScore((1, 3), DISTANCE, DotScore(0.5)),
}


def mask_of(name: str) -> Mask:
    causal = Mask.causal(ROWS, ROWS)
    if name == "window":
        return replace(causal, start=(causal.end - 9).clamp_min(0), shape="general")
    if name == "padded":
        return causal.padded(torch.arange(ROWS)[None] < 50)
    if name == "holes":
        return Mask.build(lambda first, n: (torch.arange(ROWS) % 3 != 1)[None, None].expand(1, n, -1), ROWS)
    return causal


def make(rule: str = "dot", mask: str = "causal", *, dtype: torch.dtype = torch.float32, with_lse: bool = True):
    torch.manual_seed(0)
    q, k = torch.randn(1, 4, ROWS, 8).to(dtype), torch.randn(1, 2, ROWS, 8).to(dtype)
    bias = torch.randn(1, 4, ROWS, ROWS) if mask == "window" else None
    terms = Terms(RULES[rule], mask_of(mask), bias, sink=torch.randn(4) if rule == "capped" else None)
    index = torch.arange(ROWS)[None]
    view = LayerView(LayerKey("decoder", 0), q, k, terms, terms.lse(q, k, index) if with_lse else None)
    return view, reference.weights(q.float(), k.float(), terms)[0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mask", ["causal", "window", "padded", "holes"])
@pytest.mark.parametrize("with_lse", [True, False])
def test_every_block_of_every_head(rule, mask, with_lse, monkeypatch) -> None:
    monkeypatch.setattr(headmap_module, "_BLOCK_ELEMENTS", 5 * ROWS)
    view, dense = make(rule, mask, with_lse=with_lse)
    shown = view.terms.mask.visible(torch.arange(ROWS)[None], slice(0, ROWS))[0]
    for head in range(4):
        one = HeadMap(view, head)
        assert (one.n_rows, one.n_keys) == (ROWS, ROWS)
        want = np.where(shown, dense[head], np.nan)
        for rows, keys in [
            ((0, 7), (0, 7)),
            ((20, 63), (7, 31)),
            ((62, 63), (0, 63)),
            ((1, 63, 9), (30, 63)),
            ((0, 63), (0, 63)),
        ]:
            np.testing.assert_allclose(
                one.block(slice(*rows), slice(*keys)), want[slice(*rows), slice(*keys)], atol=3e-6
            )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_exact_for_their_q_and_k(dtype) -> None:
    """The kernel's own logsumexp is good to 5e-5 in 16 bits; it is computed again, once."""
    view, dense = make(dtype=dtype)
    low = replace(view, lse_of_rows=attend(view.q, view.k, view.k, view.terms).lse)
    one = HeadMap(low, 2)
    for _ in range(2):
        block = one.block(slice(30, 60), slice(3, 20))
        np.testing.assert_allclose(block, dense[2, 30:60, 3:20], rtol=0, atol=1e-6)


def test_rows_count_from_the_first_that_is_held() -> None:
    view, dense = make()
    mask = Mask.causal(23, ROWS, q_offset=40)
    later = LayerView(view.key, view.q[:, :, 40:], view.k, replace(view.terms, mask=mask))
    np.testing.assert_allclose(HeadMap(later, 1).block(slice(0, 5), slice(0, 30)), dense[1, 40:45, :30], atol=2e-6)


@pytest.mark.parametrize("head", [-1, 4])
def test_a_head_that_is_not_there(head) -> None:
    with pytest.raises(IndexError, match=r"expected a head in \[0, 4\)"):
        HeadMap(make()[0], head)


def test_one_head_of_a_view_shares_its_memory() -> None:
    view, _ = make()
    one = view.head(3)
    assert one.q.shape == (1, 1, ROWS, 8)
    assert one.q.untyped_storage().data_ptr() == view.q.untyped_storage().data_ptr()
    assert one.k.data_ptr() == view.k[:, 1:].data_ptr()
