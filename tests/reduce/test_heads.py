"""What tells heads apart, against the definition written out as loops."""

import pytest
import torch

from heed.reduce import heads


def weights(n: int) -> torch.Tensor:
    torch.manual_seed(n)
    logits = torch.randn(2, 3, n, n).masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
    return logits.softmax(-1)


@pytest.mark.parametrize("n", [1, 63, 100])
def test_offset_and_sink(n) -> None:
    dense, rows = weights(n), torch.arange(n)
    previous = heads.offset_mass(dense, rows)
    for row in range(n):
        want = dense[:, :, row, row - 1] if row else torch.zeros(2, 3)
        torch.testing.assert_close(previous[:, :, row], want)
    torch.testing.assert_close(heads.sink_mass(dense, 4), dense[..., :4].sum(-1))


@pytest.mark.parametrize("n", [1, 63])
def test_induction_is_the_mass_on_what_followed_the_same_token(n) -> None:
    dense = weights(n)
    ids = torch.arange(n) % 5
    rows = torch.arange(n)
    follows = heads.repeats(ids, rows)
    got = heads.induction_mass(dense, follows)
    for row in range(n):
        keys = [key for key in range(1, row + 1) if ids[key - 1] == ids[row]]
        assert follows[row].nonzero().flatten().tolist() == keys
        torch.testing.assert_close(got[:, :, row], dense[:, :, row, keys].sum(-1))


def test_a_mean_over_no_row_is_nan() -> None:
    values = torch.ones(1, 2, 3)
    assert heads.mean_where(values, torch.zeros(3, dtype=torch.bool)).isnan().all()
    assert (heads.mean_where(values, torch.tensor([True, False, True])) == 1).all()
