"""One head's map of a trace, cut out block by block: numpy out, torch inside.

Comes in: a `LayerView`. Goes out: exact weights of any rectangle. A map is S×S numbers that never exist at once; what
is kept beside q and k is one logsumexp a row.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heed.attention.terms import finite
from heed.probe.view import LayerView

_BLOCK_ELEMENTS = 1 << 20
"""Most logits computed at once to learn the logsumexps of rows: 4 MiB of fp32."""
_SIXTEEN_BITS = 2


class HeadMap:
    """Rows and keys of one head, counted from the first that is held: ``A[q, t] = exp(s[q, t] - lse[q])`` in fp32.

    A 16-bit trace's logsumexps are only good to 5e-5; they are computed again, for the rows that are asked for, and
    kept. May be asked from several threads: two that need the same row write the same number.
    """

    def __init__(self, view: LayerView, head: int) -> None:
        one = view.head(head)
        kept = one.lse_of_rows is not None and one.q.element_size() > _SIXTEEN_BITS
        lse = one.lse_of_rows if kept else one.q.new_zeros(one.q.shape[:3], dtype=torch.float32)
        self._view = replace(one, q=one.q.float(), k=one.k.float(), lse_of_rows=lse)
        self._known = np.full(view.n_rows, kept)

    @property
    def n_rows(self) -> int:
        """How many rows the map has."""
        return self._view.n_rows

    @property
    def n_keys(self) -> int:
        """How many keys the map has."""
        return self._view.n_keys

    def block(self, rows: slice, keys: slice) -> Float[np.ndarray, "q t"]:
        """Exact weights of some rows (any step) on neighbouring keys, in [0, 1]; NaN where the mask hides the key."""
        index = torch.arange(*rows.indices(self.n_rows), device=self._view.q.device)
        start, stop, _ = keys.indices(self.n_keys)
        self._learn(index)
        assert self._view.lse_of_rows is not None
        lse = finite(self._view.lse_of_rows[0, 0, index])
        weights = self._scores(index, slice(start, stop), torch.nan).sub_(lse[:, None]).exp_()
        found: np.ndarray = weights.cpu().numpy()
        return found

    def _scores(self, rows: Int[Tensor, " q"], keys: slice, hidden: float) -> Float[Tensor, "q t"]:
        """Scores, with a value where keys are hidden: no mask is built for a block that is seen whole."""
        q, k, terms = self._view.q[:, :, rows], self._view.k, self._view.terms
        scores = terms.scores(q, k, rows[None], keys)[0, 0]
        whole = self._whole(rows)
        if whole.start <= keys.start and keys.stop <= whole.stop:
            return scores
        return scores.masked_fill_(~terms.mask.visible(rows[None], keys)[0], hidden)

    def _whole(self, rows: Int[Tensor, " q"]) -> slice:
        """The keys that all of these rows see; empty where they see none together, or the mask has holes."""
        mask = self._view.terms.mask
        if mask.dense is not None or not len(rows):
            return slice(0, 0)
        start, stop = int(mask.start[0, rows].max()), int(mask.end[0, rows].min())
        return slice(start, max(start, stop))

    def _learn(self, index: Int[Tensor, " q"]) -> None:
        """Compute the logsumexps of rows that are not known yet."""
        where = index.cpu().numpy()
        missing = where[~self._known[where]]
        view, step = self._view, max(1, _BLOCK_ELEMENTS // max(1, self.n_keys))
        assert view.lse_of_rows is not None
        for first in range(0, len(missing), step):
            some = torch.from_numpy(missing[first : first + step]).to(index.device)
            view.lse_of_rows[0, 0, some] = self._lse(some)
            self._known[missing[first : first + step]] = True

    def _lse(self, rows: Int[Tensor, " q"]) -> Float[Tensor, " q"]:
        """Logsumexp over the keys that these rows reach; what all of them see is taken without a mask."""
        terms = self._view.terms
        reach, whole = terms.mask.reach(rows), self._whole(rows)
        edges = [reach.start, min(max(whole.start, reach.start), reach.stop), min(whole.stop, reach.stop), reach.stop]
        parts = [slice(start, stop) for start, stop in pairwise(edges) if start < stop]
        if not parts:
            return self._view.q.new_full((len(rows),), -torch.inf)
        found = torch.stack([self._scores(rows, part, -torch.inf).logsumexp(-1) for part in parts]).logsumexp(0)
        return terms.with_sink(found[None, None])[0, 0]
