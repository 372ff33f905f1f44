"""A layer's view: every question it answers, against the dense map."""

import pytest
import torch

from heed.attention.dot import reference
from heed.attention.dot.fused import attend
from heed.attention.mask import Mask
from heed.attention.score import DotScore
from heed.attention.terms import Terms
from heed.probe import view as view_module
from heed.probe.view import LayerKey, LayerView, usual


def make(rows: int = 63, *, sink: bool = False, with_lse: bool = True) -> tuple[LayerView, torch.Tensor]:
    torch.manual_seed(0)
    q, k = torch.randn(2, 4, rows, 8), torch.randn(2, 2, rows, 8)
    terms = Terms(DotScore(0.5), Mask.causal(rows, rows), sink=torch.randn(4) if sink else None)
    index = torch.arange(rows)[None]
    lse = terms.lse(q, k, index) if with_lse else None
    return LayerView(LayerKey("decoder", 0), q, k, terms, lse), reference.weights(q, k, terms)


@pytest.fixture(params=[(False, True), (False, False), (True, True), (True, False)], ids=str)
def pair(request, monkeypatch):
    monkeypatch.setattr(view_module, "_BLOCK_ELEMENTS", 3000)  # several blocks
    return make(sink=request.param[0], with_lse=request.param[1])


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("rows", [0, -1, 62, slice(None), slice(5, 20), slice(3, 40, 7), [4, 4, 0], slice(0, 0)])
def test_rows(pair, rows) -> None:
    view, dense = pair
    if rows == slice(0, 0):
        assert view.tile(rows, slice(None)).shape == (2, 4, 0, 63)
        return
    picked = dense[:, :, [rows]] if isinstance(rows, int) else dense[:, :, rows]
    close(view.rows(rows), picked)


def test_rows_that_differ_by_prompt(pair) -> None:
    view, dense = pair
    got = view.rows(torch.tensor([[3], [60]]))
    close(got[0], dense[0, :, [3]])
    close(got[1], dense[1, :, [60]])


def test_reductions(pair) -> None:
    view, dense = pair
    members = torch.zeros(1, 63, 2)
    members[0, 2:9, 0] = members[0, 9:60, 1] = 1
    close(view.mass(slice(None), members), dense @ members[0])
    close(view.entropy(), torch.special.entr(dense).sum(-1))
    torch.testing.assert_close(view.received(), dense.sum(2), rtol=1e-5, atol=1e-5)
    values, keys = view.topk([10, 50], 3)
    close(values, dense[:, :, [10, 50]].topk(3).values)
    close(dense[:, :, [10, 50]].gather(-1, keys), values)


@pytest.mark.parametrize(("rows", "keys"), [((0, 5), (0, 5)), ((20, 63), (7, 31)), ((62, 63), (0, 63))])
def test_tile(pair, rows, keys) -> None:
    view, dense = pair
    close(view.tile(slice(*rows), slice(*keys)), dense[:, :, slice(*rows), slice(*keys)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_tiles_are_exact_for_their_q_and_k(dtype) -> None:
    """Regression: the kernel's logsumexp is good to 5e-5 in 16 bits, and tiles inherited that."""
    view, _ = make(300, with_lse=False)
    q, k = view.q.to(dtype), view.k.to(dtype)
    lse = attend(q, k, k, view.terms).lse
    low = LayerView(view.key, q, k, view.terms, lse)
    truth = reference.weights(q.float(), k.float(), view.terms)
    close(low.tile(slice(100, 300), slice(7, 90)), truth[:, :, 100:300, 7:90])
    close(low.rows([5, 299]), truth[:, :, [5, 299]])


def test_a_row_that_is_not_held_is_an_error() -> None:
    view, _ = make()
    with pytest.raises(IndexError, match=r"expected rows in \[0, 63\), found 63"):
        view.rows(63)


@pytest.mark.parametrize("where", ["q", "k"])
def test_nan_is_never_hidden(where: str) -> None:
    """A model that overflows must be seen as such; torch's CPU kernel itself turns such rows into zeros."""
    view, _ = make()
    getattr(view, where)[0, 0, 30] = torch.nan
    assert view.rows(30)[0].isnan().any()


def test_rows_count_from_the_position_after_a_past() -> None:
    view, dense = make()
    later = LayerView(view.key, view.q[:, :, 40:], view.k, Terms(DotScore(0.5), Mask.causal(23, 63, q_offset=40)))
    close(later.rows(50), dense[:, :, [50]])
    close(later.rows(slice(None)), dense[:, :, 40:])
    with pytest.raises(IndexError, match=r"expected rows in \[40, 63\), found 39"):
        later.rows(39)


def test_keys_a_sliding_cache_dropped_are_an_error() -> None:
    view, _ = make(8)
    mask = Mask.causal(8, 8, q_offset=5, kv_offset=5)
    slid = LayerView(view.key, view.q, view.k, Terms(DotScore(0.5), mask))
    with pytest.raises(IndexError, match="expected keys from 5 on, found 0"):
        slid.tile(slice(5, 6), slice(0, 8))


def test_usual_layers_look_across_if_any_do() -> None:
    keys = [LayerKey("encoder", 0), LayerKey("decoder", 0), LayerKey("decoder", 0, "cross")]
    assert usual(keys) == (keys[2],)
    assert usual(keys[:2]) == (keys[1],)
    assert str(keys[2]) == "decoder.0.cross"
