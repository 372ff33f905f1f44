"""The score rule of a mechanism: how a query and a key become a logit, as a value.

A reading carries the rule of the mechanism that produced it, so that attention is always recomputed
by the formula it was computed with. Dot product is the first rule.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class DotScore:
    """Scaled dot product, ``s = scale * q·k``, optionally capped: ``s = softcap * tanh(s / softcap)``.

    Vaswani et al. 2017 (arXiv 1706.03762), eq. 1; the cap is Gemma 2's (arXiv 2408.00118, section 2).
    """

    scale: float
    softcap: float | None = None

    def logits(self, q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"]) -> Float[Tensor, "B H Q T"]:
        """Logits before mask, bias and sink, in fp32; ``H`` is a multiple of ``K``, and k is never repeated."""
        batch, heads, rows, width = q.shape
        groups = k.shape[1]
        grouped = q.float().reshape(batch, groups, heads // groups * rows, width)
        with torch.autocast(q.device.type, enabled=False):  # a caller's autocast would round the product
            scores = torch.matmul(grouped, k.float().transpose(-1, -2)).mul_(self.scale)
        if self.softcap is not None:
            scores = scores.div_(self.softcap).tanh_().mul_(self.softcap)
        return scores.view(batch, heads, rows, k.shape[2])
