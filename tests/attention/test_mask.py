"""Masks as intervals, against the dense mask they stand for."""

import pytest
import torch

from heed.attention.mask import Mask


def dense(mask: Mask) -> torch.Tensor:
    rows = torch.arange(mask.start.shape[1])[None]
    return mask.visible(rows, slice(0, mask.n_keys))


def built(pattern: torch.Tensor, step: int = 4) -> Mask:
    return Mask.build(lambda first, count: pattern[:, first : first + count], pattern.shape[1], step=step)


@pytest.mark.parametrize("size", [1, 5, 63])
def test_causal_is_the_lower_triangle(size: int) -> None:
    mask = Mask.causal(size, size)
    assert mask.shape == "causal"
    assert torch.equal(dense(mask)[0], torch.ones(size, size).tril().bool())


def test_causal_with_a_past_sees_the_past() -> None:
    mask = Mask.causal(3, 10, q_offset=7)
    assert mask.shape == "general"
    assert dense(mask)[0].sum(-1).tolist() == [8, 9, 10]


def test_causal_hides_the_unfilled_tail_of_a_static_cache() -> None:
    assert dense(Mask.causal(3, 9))[0].sum(-1).tolist() == [1, 2, 3]


def test_one_row_that_sees_everything_needs_no_mask() -> None:
    assert Mask.causal(1, 10, q_offset=9).shape == "full"


@pytest.mark.parametrize("window", [1, 3, 7])
def test_window_becomes_intervals(window: int) -> None:
    i = torch.arange(20)
    pattern = ((i[None, :] <= i[:, None]) & (i[None, :] > i[:, None] - window))[None]
    mask = built(pattern)
    assert mask.dense is None
    assert torch.equal(dense(mask), pattern)


def test_rows_with_holes_keep_their_dense_form() -> None:
    pattern = torch.ones(1, 6, 6, dtype=torch.bool)
    pattern[0, 4, 2] = False
    mask = built(pattern)
    assert mask.dense is not None
    assert torch.equal(dense(mask), pattern)


def test_full_pattern_is_known_as_full() -> None:
    assert built(torch.ones(1, 5, 7, dtype=torch.bool)).shape == "full"


def test_right_padding_keeps_the_causal_shape_and_empties_padded_rows() -> None:
    real = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    mask = Mask.causal(5, 5).padded(real)
    assert mask.shape == "causal"
    assert dense(mask).sum(-1).tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]
    assert mask.empty_rows().tolist() == [[False, False, False, True, True], [False] * 5]


def test_left_padding_hides_keys_and_empties_rows() -> None:
    real = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]).bool()
    mask = Mask.causal(4, 4).padded(real)
    assert mask.shape == "general"
    assert torch.equal(dense(mask), torch.ones(4, 4).tril().bool() & real[:, None])


def test_padding_in_the_middle_is_exact() -> None:
    real = torch.tensor([[1, 0, 1, 1]]).bool()
    mask = Mask.causal(4, 4).padded(real)
    assert torch.equal(dense(mask), torch.ones(4, 4).tril().bool() & real[:, None])


def test_prompt_of_padding_alone_sees_nothing() -> None:
    real = torch.tensor([[0, 0, 0], [1, 1, 1]]).bool()
    assert not dense(Mask.causal(3, 3).padded(real))[0].any()


def test_reach_is_the_smallest_stretch_that_holds_what_rows_see() -> None:
    i = torch.arange(20)
    pattern = ((i[None, :] <= i[:, None]) & (i[None, :] > i[:, None] - 4))[None]
    assert built(pattern).reach(slice(10, 12)) == slice(7, 12)
    assert Mask.causal(3, 3).padded(torch.zeros(1, 3).bool()).reach(slice(0, 2)) == slice(0, 0)


def test_rows_may_differ_by_prompt() -> None:
    mask = Mask.causal(6, 6)
    seen = mask.visible(torch.tensor([[0], [4]]), slice(0, 6))
    assert seen.sum(-1).tolist() == [[1], [5]]
