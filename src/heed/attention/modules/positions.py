"""Where a token stands: sinusoidal and learned positions added to embeddings, rotary ones in q and k, ALiBi slopes.

Rotary pairs are (d, d + D/2). Rotation leaves L2, cosine and the pair norms relative; L1, Lp and Chebyshev distances
change with the absolute position, so use a pair norm (``"l21"``, ``"linf2"``) or ALiBi with those.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heed.attention.modules.config import positive, positive_int
from heed.errors import InputError, TooLongError


class SinusoidalPositions(nn.Module):
    """``PE[t, 2i] = sin(t / 10000^(2i/d))``, ``PE[t, 2i+1] = cos(…)``; any position, nothing learned.

    Vaswani et al. 2017 (arXiv 1706.03762), section 3.5. ``d_model`` must be even.
    """

    inverse_frequency: Tensor

    def __init__(self, d_model: int) -> None:
        super().__init__()
        positive_int("d_model", d_model)
        if d_model % 2:
            raise InputError(f"sinusoidal positions come in pairs: d_model must be even, found {d_model}")
        self.d_model = d_model
        self.register_buffer("inverse_frequency", _inverse_frequency(d_model, 10000.0), persistent=False)

    def forward(self, positions: Int[Tensor, "*N"]) -> Float[Tensor, "*N d"]:
        """The code of each position, in [-1, 1]."""
        angle = positions[..., None] * self.inverse_frequency.float()
        code = torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)
        return code.to(self.inverse_frequency.dtype)


class LearnedPositions(nn.Embedding):
    """One learned vector for each of ``max_positions`` positions, N(0, 0.02²) at first (BERT, GPT-2)."""

    def __init__(self, max_positions: int, d_model: int) -> None:
        positive_int("max_positions", max_positions)
        positive_int("d_model", d_model)
        super().__init__(max_positions, d_model)

    def reset_parameters(self) -> None:
        """Draw the vectors anew."""
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, positions: Int[Tensor, "*N"]) -> Float[Tensor, "*N d"]:
        """The vector of each position; raises TooLongError beyond the table."""
        compiling = torch.compiler.is_compiling()
        if not compiling and positions.numel() and int(positions.max()) >= self.num_embeddings:
            raise TooLongError(
                f"there are {self.num_embeddings} learned positions, position {int(positions.max())} was asked for: "
                "shorten the text, or make the table longer (max_positions)"
            )
        return super().forward(positions)


class RotaryPositions(nn.Module):
    """Rotate each pair (d, d + D/2) of a head by ``position · theta^(-2d/D)``: rotate_half's convention.

    Su et al. 2021 (arXiv 2104.09864). ``head_dim`` must be even. Angles are computed in fp32.
    """

    inverse_frequency: Tensor

    def __init__(self, head_dim: int, theta: float = 10000.0) -> None:
        super().__init__()
        positive_int("head_dim", head_dim)
        positive("theta", theta)
        if head_dim % 2:
            raise InputError(f"rotary positions come in pairs: the head width must be even, found {head_dim}")
        self.head_dim, self.theta = head_dim, theta
        self.register_buffer("inverse_frequency", _inverse_frequency(head_dim, theta), persistent=False)

    def forward(
        self, q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K Q D"], positions: Int[Tensor, "b Q"]
    ) -> tuple[Float[Tensor, "B H Q D"], Float[Tensor, "B K Q D"]]:
        """Rotate queries and keys of the same tokens; ``positions`` has one row, or one for each prompt."""
        angle = positions[:, None, :, None].float() * self.inverse_frequency.float()
        cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
        return _rotate(q, cos, sin), _rotate(k, cos, sin)

    def extra_repr(self) -> str:
        """Width and base."""
        return f"head_dim={self.head_dim}, theta={self.theta:g}"


def alibi_slopes(num_heads: int) -> Float[Tensor, " H"]:
    """The slope of each head's penalty ``-slope · |i - j|``: 2^(-8h/n), h = 1 … n.

    Where n is no power of two, the slopes of the power below it, then every other one of the power above.
    Press et al. 2022 (arXiv 2108.12409), section 3 and footnote 9.
    """
    positive_int("num_heads", num_heads)
    below = 2 ** int(math.log2(num_heads))
    first = [2 ** (-8 * h / below) for h in range(1, below + 1)]
    between = [2 ** (-4 * h / below) for h in range(1, 2 * below + 1, 2)]
    return torch.tensor(first + between[: num_heads - below])


def _inverse_frequency(width: int, theta: float) -> Float[Tensor, " pairs"]:
    return theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    turned = torch.cat([-second, first], -1)
    return (x * cos + turned * sin).to(x.dtype)
