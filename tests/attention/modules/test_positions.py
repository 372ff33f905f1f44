"""Positions: the published formulas, and what stays relative."""

import math

import pytest
import torch
from torch import Tensor

from heed.attention import METRICS, LearnedPositions, RotaryPositions, SinusoidalPositions, alibi_slopes
from heed.errors import InputError, TooLongError


def test_sinusoidal_positions_are_the_formula() -> None:
    code = SinusoidalPositions(10)(torch.arange(63))
    for t, i in ((0, 0), (1, 3), (62, 4), (17, 2)):
        angle = t / 10000 ** (2 * i / 10)
        torch.testing.assert_close(code[t, 2 * i], torch.tensor(math.sin(angle)), rtol=0, atol=1e-5)
        torch.testing.assert_close(code[t, 2 * i + 1], torch.tensor(math.cos(angle)), rtol=0, atol=1e-5)


def test_sinusoidal_positions_of_any_shape_and_dtype() -> None:
    layer = SinusoidalPositions(6)
    assert layer(torch.tensor([[5, 0], [1, 100_000]])).shape == (2, 2, 6)
    assert layer.bfloat16()(torch.arange(3)).dtype == torch.bfloat16
    assert not layer.state_dict()


def test_learned_positions_end() -> None:
    layer = LearnedPositions(8, 6)
    assert layer(torch.arange(8)).shape == (8, 6)
    with pytest.raises(TooLongError, match="8 learned positions, position 8"):
        layer(torch.arange(9))


def distances(metric: str, start: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 5, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    q, k = RotaryPositions(8)(q, k, torch.arange(start, start + 5)[None])
    return METRICS[metric].distance(q, k, torch.full((1, 1, 1, 1), 3.0))


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_metrics_say_truly_whether_rotation_keeps_them_relative(metric: str) -> None:
    apart = (distances(metric, 3) - distances(metric, 47)).abs().max()
    assert bool(apart < 1e-4) == METRICS[metric].rope_invariant


def test_rotation_follows_rotate_half() -> None:
    x = torch.randn(1, 1, 2, 4)
    turned, _ = RotaryPositions(4, 100.0)(x, x, torch.tensor([[0, 3]]))
    assert torch.equal(turned[0, 0, 0], x[0, 0, 0])
    a, b = x[0, 0, 1, 1], x[0, 0, 1, 3]
    angle = torch.tensor(3 * 100.0**-0.5)
    torch.testing.assert_close(turned[0, 0, 1, 1], a * angle.cos() - b * angle.sin())
    torch.testing.assert_close(turned[0, 0, 1, 3], b * angle.cos() + a * angle.sin())


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, [2.0**-8]),
        (8, [2.0**-h for h in range(1, 9)]),
        (3, [2.0**-4, 2.0**-8, 2.0**-2]),
        (6, [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]),
    ],
)
def test_alibi_slopes_are_those_of_the_paper(heads: int, slopes: list[float]) -> None:
    torch.testing.assert_close(alibi_slopes(heads), torch.tensor(slopes))


def test_odd_widths_and_wrong_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="even, found 5"):
        SinusoidalPositions(5)
    with pytest.raises(InputError, match="even, found 7"):
        RotaryPositions(7)
    with pytest.raises(InputError, match="theta"):
        RotaryPositions(8, 0.0)
    with pytest.raises(InputError, match="num_heads"):
        alibi_slopes(0)
    with pytest.raises(InputError, match="max_positions"):
        LearnedPositions(0, 4)
