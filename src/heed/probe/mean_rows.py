"""A probe that keeps one map of a few rows: summed over heads and layers while the pass runs, in blocks of rows."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heed.errors import InputError
from heed.probe.probes import Moment
from heed.probe.view import LayerView
from heed.text.span import TokenSpan

_BLOCK_ELEMENTS = 1 << 19
"""Most weights computed at once: 2 MiB of fp32; with larger blocks the heap grows by more than they hold."""
_NO_ROWS = TokenSpan(0, 0)


@dataclass(slots=True, eq=False)
class MeanRows:
    """Attention of some rows on some keys of one prompt, averaged over heads and over all layers that are read.

    What `read` keeps of each layer is the share of attention that reached the ``keys``, ``[1, H, Q]``, in [0, 1]; the
    map itself grows inside and is asked for with `mean`. Memory is that of one map, whatever the number of layers:
    8,192 keys and 1,000 rows take 33 MB. A `MeanRows` is for one read.

    Parameters
    ----------
    keys
        The columns.
    rows
        Rows of the prompt, by default none. Tokens that are generated in the same read are rows after them.
    """

    keys: TokenSpan
    rows: TokenSpan = _NO_ROWS
    _sums: dict[int, Tensor] = field(default_factory=dict, init=False)
    _layers: dict[int, int] = field(default_factory=dict, init=False)

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "1 H Q"]:
        """Add a layer.

        Raises
        ------
        InputError
            If more than one prompt is read.
        """
        if view.q.shape[0] != 1:
            raise InputError(f"expected one prompt, found {view.q.shape[0]}: read them one by one")
        last = view.first_row + view.n_rows
        rows = TokenSpan(last - 1, last) if moment.step else self.rows
        total = self._sums.setdefault(moment.step, view.q.new_zeros(len(rows), len(self.keys), dtype=torch.float32))
        self._layers[moment.step] = self._layers.get(moment.step, 0) + 1
        held = slice(max(0, self.keys.start - view.first_key), max(0, self.keys.end - view.first_key))
        dropped = len(self.keys) - (held.stop - held.start)  # a sliding cache lets go of the first keys
        reached = [view.q.new_zeros(1, view.q.shape[1], 0, dtype=torch.float32)]
        step = max(1, _BLOCK_ELEMENTS // (view.q.shape[1] * view.n_keys))
        in_fp32 = replace(view, k=view.k.float())  # once, not for every block; all that is computed is fp32 anyway
        for first in range(rows.start, rows.end, step):
            block = in_fp32.rows(slice(first, min(first + step, rows.end)))[..., held]
            total[first - rows.start :][: block.shape[2], dropped:] += block[0].mean(0)
            reached.append(block.sum(-1))
        return torch.cat(reached, 2)

    def mean(self) -> Float[np.ndarray, "Q N"]:
        """The map: for each row its attention on each key, in [0, 1].

        Raises
        ------
        InputError
            If nothing has been read.
        """
        if not self._sums:
            raise InputError("expected a probe that was read with, found one that was not: hand it to heed.probe.read")
        return np.concatenate([(total / self._layers[step]).cpu().numpy() for step, total in self._sums.items()])
