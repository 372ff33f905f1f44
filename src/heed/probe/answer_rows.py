"""What an answer's tokens attend to: rows of some tokens on the keys of others, as small as their use allows."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heed.probe.probes import Moment
from heed.probe.view import LayerKey, LayerView
from heed.text.span import TokenSpan

_ROWS = 64
"""Rows computed at once."""


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Attention of the tokens ``rows`` on the tokens ``keys``, for the one prompt of a read.

    With ``keep`` None every weight: ``[B, H, R, C]``; else the ``keep`` heaviest of each row and their places within
    ``keys``: ``[B, 2, H, R, keep]``, heaviest first. ``heads`` False: the mean over heads, H = 1. Of a layer that is
    not among ``layers`` nothing, ``[B, 0]``. ``last_rows`` is how many of the prompt's last rows hold them all, 0 if
    that is not known.
    """

    layers: frozenset[LayerKey]
    rows: TokenSpan
    keys: TokenSpan
    keep: int | None = None
    heads: bool = True
    last_rows: int = 0

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B ..."]:
        """Reduce a layer."""
        if view.key not in self.layers or moment.step:
            return moment.members.new_zeros((len(moment.row), 0))
        blocks = [self._block(view, start) for start in range(self.rows.start, self.rows.end, _ROWS)]
        return torch.cat(blocks, -2)

    def _block(self, view: LayerView, start: int) -> Tensor:
        weights = view.tile(slice(start, min(start + _ROWS, self.rows.end)), self.keys.slice())
        if not self.heads:
            weights = weights.mean(1, keepdim=True)
        if self.keep is None:
            return weights
        heaviest = weights.topk(self.keep, -1)
        return torch.stack([heaviest.values, heaviest.indices.to(weights.dtype)], 1)
