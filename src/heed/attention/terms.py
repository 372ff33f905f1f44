"""Everything that turns one layer's q and k into attention: rule, mask, bias and sink as one value.

It travels with a reading, so that whoever recomputes attention later uses the formula of the call itself.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heed.attention.mask import Mask
from heed.attention.score import Rule, rule_of_head


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """``p[q, t] = exp(s[q, t] - lse[q])`` with ``s = rule(q, k) + bias`` where the mask shows ``t``.

    ``lse`` is the logsumexp of row ``q`` over the visible keys and, where a layer has one, the ``sink``: a
    learned logit per head that takes probability and gives it to no key (gpt-oss).
    """

    rule: Rule
    mask: Mask
    bias: Float[Tensor, "b h Q T"] | None = None
    sink: Float[Tensor, " H"] | None = None

    def logits(
        self, q: Float[Tensor, "B H q D"], k: Float[Tensor, "B K T D"], rows: Int[Tensor, "b q"], keys: slice
    ) -> Float[Tensor, "B H q t"]:
        """fp32 logits of the given rows (``q`` holds just these) on a stretch of keys; hidden keys are -inf."""
        return self.scores(q, k, rows, keys).masked_fill(~self.mask.visible(rows, keys)[:, None], -torch.inf)

    def scores(
        self, q: Float[Tensor, "B H q D"], k: Float[Tensor, "B K T D"], rows: Int[Tensor, "b q"], keys: slice
    ) -> Float[Tensor, "B H q t"]:
        """The same before the mask."""
        scores = self.rule.logits(q, k[:, :, keys])
        return scores if self.bias is None else scores + self._bias(rows, keys)

    def lse(
        self, q: Float[Tensor, "B H q D"], k: Float[Tensor, "B K T D"], rows: Int[Tensor, "b q"]
    ) -> Float[Tensor, "B H q"]:
        """Logsumexp of the given rows over all keys and the sink, in fp32; -inf for a row that sees nothing."""
        lse = self.logits(q, k, rows, slice(0, k.shape[2])).logsumexp(-1)
        return lse if self.sink is None else self.with_sink(lse)

    def with_sink(self, lse: Float[Tensor, "B H q"]) -> Float[Tensor, "B H q"]:
        """Add the sink's share to a logsumexp that was taken over the keys alone."""
        if self.sink is None:
            return lse
        return torch.logaddexp(lse, self.sink.float().view(1, -1, 1))

    def of_head(self, head: int) -> "Terms":
        """The terms of one query head, for q and k that hold this head alone."""
        bias = self.bias if self.bias is None or self.bias.shape[1] == 1 else self.bias[:, head : head + 1]
        sink = None if self.sink is None else self.sink[head : head + 1]
        return replace(self, rule=rule_of_head(self.rule, head), bias=bias, sink=sink)

    def _bias(self, rows: Int[Tensor, "b q"], keys: slice) -> Float[Tensor, "b h q t"]:
        assert self.bias is not None
        if rows.shape[0] == 1:
            return self.bias[:, :, rows[0], keys].float()
        bias = self.bias[..., keys].expand(rows.shape[0], -1, -1, -1)
        index = rows[:, None, :, None].expand(-1, bias.shape[1], -1, bias.shape[-1])
        return bias.gather(2, index).float()


def every_row(n_rows: int, device: torch.device | str = "cpu") -> Int[Tensor, "1 Q"]:
    """The index of all rows, shared by the batch."""
    return torch.arange(n_rows, device=device)[None]


def finite(lse: Tensor) -> Tensor:
    """Zero where a row sees nothing (-inf), so that its weights ``exp(-inf - lse)`` are 0; NaN stays NaN."""
    return lse.masked_fill(lse == -torch.inf, 0.0)
