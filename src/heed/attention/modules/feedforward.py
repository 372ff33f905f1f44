"""The position-wise half of a transformer block."""

from collections.abc import Callable
from typing import get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from heed.attention.modules.config import Activation, one_of, positive_int, probability


class FeedForward(nn.Module):
    """``down(dropout(activation(up(x))))``; for ``"swiglu"`` ``down(dropout(silu(gate(x)) * up(x)))``.

    Vaswani et al. 2017 (arXiv 1706.03762), eq. 2; SwiGLU is Shazeer 2020 (arXiv 2002.05202), with three matrices
    of ``dim_feedforward`` columns instead of two. GELU is the exact one, by the error function.
    """

    def __init__(
        self,
        d_model: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.0,
        activation: Activation = "gelu",
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        one_of("activation", activation, get_args(Activation))
        positive_int("d_model", d_model)
        positive_int("dim_feedforward", dim_feedforward)
        probability("dropout", dropout)
        self.activation = activation
        self.up = nn.Linear(d_model, dim_feedforward, bias=bias)
        self.gate = nn.Linear(d_model, dim_feedforward, bias=bias) if activation == "swiglu" else None
        self.down = nn.Linear(dim_feedforward, d_model, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*N width"]) -> Float[Tensor, "*N width"]:
        """The same map at each position."""
        if self.gate is not None:
            hidden = functional.silu(self.gate(x)) * self.up(x)
        else:
            act: Callable[[Tensor], Tensor] = functional.gelu if self.activation == "gelu" else functional.relu
            hidden = act(self.up(x))
        out: Tensor = self.down(self.dropout(hidden))
        return out

    def extra_repr(self) -> str:
        """The activation."""
        return f"activation={self.activation}"
