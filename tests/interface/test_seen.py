"""From intervals back to words: what a row sees must be the same, and dense masks stay the exception."""

import pytest
import torch
from torch import Tensor
from transformers import masking_utils as masks

from heed.attention.mask import Mask
from heed.attention.terms import every_row
from heed.interface.names import interval_mask
from heed.interface.seen import HandedOn, Seen, last_row, seen

SIZES = [(1, 1), (1, 63), (63, 63), (100, 100), (7, 100)]
WINDOWED = masks.sliding_window_causal_mask_function(5)
BOTH_WAYS = masks.sliding_window_bidirectional_mask_function(4)


def shown(what: Seen, batch: int, n_rows: int, n_keys: int) -> Tensor:
    """The dense mask that the arguments of `distance_attention` stand for, straight from its documentation."""
    place = torch.arange(n_rows)[:, None] + (n_keys - n_rows if what.q_offset is None else what.q_offset)
    keys = torch.arange(n_keys)[None]
    dense = torch.ones(batch, n_rows, n_keys, dtype=torch.bool)
    if what.is_causal:
        dense &= keys <= place
    if what.window is not None:
        dense &= (keys > place - what.window) & (torch.ones(1) if what.is_causal else keys < place + what.window).bool()
    if what.key_mask is not None:
        dense &= what.key_mask[:, None]
    return dense if what.attn_mask is None else dense & what.attn_mask[:, 0]


def made_at(place: int, function: object, n_rows: int, n_keys: int) -> Mask:
    return interval_mask(
        batch_size=2, q_length=n_rows, kv_length=n_keys, q_offset=torch.tensor(place), mask_function=function
    )


def made(function: object, n_rows: int, n_keys: int, padding: Tensor | None = None) -> Mask:
    return interval_mask(
        batch_size=2, q_length=n_rows, kv_length=n_keys, q_offset=n_keys - n_rows, mask_function=function,
        attention_mask=padding,
    )  # fmt: skip


def same(mask: Mask, n_rows: int, n_keys: int) -> Seen:
    """The words, once they are known to say what the mask says of every row that sees anything."""
    dense = mask.visible(every_row(n_rows), slice(0, n_keys)).expand(2, -1, -1)
    what = seen(mask)
    rows = dense.any(-1)
    assert torch.equal(shown(what, 2, n_rows, n_keys)[rows], dense[rows])
    return what


@pytest.mark.parametrize(("n_rows", "n_keys"), SIZES)
@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize("function", [masks.causal_mask_function, masks.bidirectional_mask_function,
                                      WINDOWED, BOTH_WAYS], ids=["causal", "full", "window", "both"])  # fmt: skip
def test_order_window_and_padding_need_no_dense_mask(function: object, side: str | None, n_rows: int, n_keys: int):
    padding = None
    if side is not None:
        padding = torch.ones(2, n_keys, dtype=torch.bool)
        short = n_keys // 3
        padding[0, slice(0, short) if side == "left" else slice(n_keys - short, n_keys)] = False
    assert same(made(function, n_rows, n_keys, padding), n_rows, n_keys).attn_mask is None


def test_words_are_as_few_as_can_be():
    assert seen(made(masks.causal_mask_function, 63, 63)) == Seen(is_causal=True, q_offset=0)
    assert seen(made(masks.causal_mask_function, 1, 63)) == Seen()
    assert seen(made(masks.bidirectional_mask_function, 63, 63)) == Seen()
    assert seen(made(WINDOWED, 63, 63)) == Seen(is_causal=True, q_offset=0, window=5)
    assert seen(made(WINDOWED, 7, 100)) == Seen(is_causal=True, q_offset=93, window=5)
    assert seen(made(BOTH_WAYS, 63, 63)) == Seen(window=5, q_offset=0)


def test_chunks_and_holes_become_dense():
    chunked = made(masks.chunked_causal_mask_function(16, torch.zeros(2, dtype=torch.int64)), 63, 63)
    assert same(chunked, 63, 63).attn_mask is not None
    holes = torch.ones(2, 63, dtype=torch.bool)
    holes[1, 20:25] = False
    assert same(made(masks.causal_mask_function, 63, 63, holes), 63, 63).attn_mask is not None


def test_rows_that_all_see_nothing_stay_empty():
    nothing = torch.zeros(2, 9, dtype=torch.bool)
    what = seen(made(masks.bidirectional_mask_function, 9, 9, nothing))
    assert not shown(what, 2, 9, 9).any()


def test_one_row_of_a_static_cache_is_a_plain_mask():
    """100 places, 20 tokens behind the row."""
    dense = last_row(made_at(20, masks.causal_mask_function, 1, 100))
    assert dense.shape == (1, 1, 1, 100)
    assert dense[..., :21].all()
    assert not dense[..., 21:].any()


def test_rows_of_a_static_cache_need_no_dense_mask():
    assert seen(made_at(20, masks.causal_mask_function, 7, 100)) == Seen(is_causal=True, q_offset=20)
    handed = HandedOn.of(made_at(20, masks.causal_mask_function, 7, 100))
    assert (handed.ndim, handed.contiguous()) == (4, handed)
    assert seen(handed) == Seen(is_causal=True, q_offset=20)
