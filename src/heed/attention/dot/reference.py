"""Dot-product attention in plain torch, dense and slow: the specification the fast paths are held to."""

import torch
from jaxtyping import Float
from torch import Tensor

from heed.attention.terms import Terms, every_row


def weights(q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"], terms: Terms) -> Float[Tensor, "B H Q T"]:
    """Softmax over the visible keys; a sink is one more logit that no key receives. Empty rows are zero."""
    logits = terms.logits(q, k, every_row(q.shape[2], q.device), slice(0, k.shape[2]))
    if terms.sink is not None:
        sink = terms.sink.float().view(1, -1, 1, 1).expand(*logits.shape[:3], 1)
        logits = torch.cat([logits, sink], -1)
    weights = logits.softmax(-1)[..., : k.shape[2]]
    return weights.masked_fill(terms.mask.empty_rows()[:, None, :, None], 0.0)


def attend(
    q: Float[Tensor, "B H Q D"], k: Float[Tensor, "B K T D"], v: Float[Tensor, "B K T E"], terms: Terms
) -> Float[Tensor, "B H Q E"]:
    """The weighted sum of values, in fp32."""
    return weights(q, k, terms) @ v.float().repeat_interleave(q.shape[1] // k.shape[1], 1)
