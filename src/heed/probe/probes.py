"""What to keep of each layer: a probe is one function from a `LayerView` to a small tensor.

`read` hands it every wanted layer while q and k are at hand; asked of a trace, the same probe gives the same.
A probe of your own needs only the signature of `Probe`.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heed.probe.view import LayerView


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What a probe may need to know of the pass: the row to look from, and who belongs to which span.

    ``row`` is ``[B, 1]``, the row of the token whose successor is predicted: each prompt's last token, later the
    token generated last (-1: the last row a layer holds). ``members`` is ``[B, N, S]``.
    """

    row: Tensor
    members: Float[Tensor, "B N S"]
    step: int = 0
    """0 for the prompt, n for the pass over the n-th generated token."""


class Probe(Protocol):
    """One function of a layer; the first axis of what it returns is the batch.

    A probe that looks at nothing but the last n rows of the prompt says so with an attribute ``last_rows = n``: only
    then may earlier rows come from a prefix cache.
    """

    def __call__(self, view: LayerView, moment: Moment, /) -> Tensor:
        """Reduce a layer to what is wanted of it."""
        ...


@dataclass(frozen=True, slots=True)
class LastRowMass:
    """Mass of the last token's attention on each span, ``[B, H, S]``, in [0, 1]."""

    last_rows: ClassVar[int] = 1

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B H S"]:
        """Reduce a layer."""
        return view.mass(moment.row, moment.members)[:, :, 0]


@dataclass(frozen=True, slots=True)
class LastRow:
    """The last token's attention on every key, ``[B, H, T]``."""

    last_rows: ClassVar[int] = 1

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B H T"]:
        """Reduce a layer."""
        return view.rows(moment.row)[:, :, 0]


@dataclass(frozen=True, slots=True)
class PromptRow:
    """The last prompt token's attention on every key, ``[B, H, T]``; nothing, ``[B, 0]``, of generated tokens."""

    last_rows: ClassVar[int] = 1

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B ..."]:
        """Reduce a layer."""
        if moment.step:
            return moment.members.new_zeros((len(moment.row), 0))
        return LastRow()(view, moment)


@dataclass(frozen=True, slots=True)
class _Tail:
    """Some of the prompt's last rows, counted from its end: -1 is the last token."""

    rows: tuple[int, ...]

    @property
    def last_rows(self) -> int:
        """How many rows at the end it looks at."""
        return -min(self.rows)

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B ..."]:
        """Reduce a layer."""
        if moment.step:
            return moment.members.new_zeros((len(moment.row), 0))
        return self._reduced(view, moment, moment.row + 1 + torch.tensor(self.rows, device=moment.row.device))

    def _reduced(self, view: LayerView, moment: Moment, rows: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class TailRows(_Tail):
    """Attention of several of the prompt's last tokens on every key, ``[B, H, R, T]``; nothing of generated tokens.

    ``rows`` count from the end: -1 is the last token.
    """

    def _reduced(self, view: LayerView, moment: Moment, rows: Tensor) -> Float[Tensor, "B H R T"]:
        del moment
        return view.rows(rows)


@dataclass(frozen=True, slots=True)
class TailMass(_Tail):
    """Mass of several of the prompt's last tokens on each span, ``[B, H, R, S]``; nothing of generated tokens.

    ``rows`` count from the end, as those of `TailRows`.
    """

    def _reduced(self, view: LayerView, moment: Moment, rows: Tensor) -> Float[Tensor, "B H R S"]:
        return view.mass(rows, moment.members)


@dataclass(frozen=True, slots=True, eq=False)
class TokenPull(_Tail):
    """What each key adds to weighted sums of log masses on a span, to first order: ``[B, K, T]`` for K sets of weights.

    With p a row's attention on a key and m its mass on the span: the sum over rows and heads of
    ``weights * p / (m + floor)``, which is the derivative of the sum of ``weights * log(m + floor)`` by log p; 0 for
    keys outside the span, nothing of generated tokens. ``weights`` is ``[K, R, L, H]``, layers by their index; ``rows``
    count from the end.
    """

    weights: Float[np.ndarray, "K R L H"]
    span: int
    floor: float = 1e-6

    def _reduced(self, view: LayerView, moment: Moment, rows: Tensor) -> Float[Tensor, "B K T"]:
        inside = moment.members[:, view.first_key : view.first_key + view.n_keys, self.span]
        found = view.rows(rows) * inside[:, None, None]
        shares = found / (found.sum(-1, keepdim=True) + self.floor)
        weights = torch.from_numpy(self.weights[:, :, view.key.index]).to(shares)
        return torch.einsum("bhrt,krh->bkt", shares, weights)


@dataclass(frozen=True, slots=True)
class PooledMass:
    """How the tokens of one span attend, pooled over them: ``[B, H, P, S]``; nothing of generated tokens.

    Pooled are the logarithms of each token's mass on each span (a sum with ``floor``): their mean, highest, lowest and
    standard deviation (P = 4). ``span`` is the place of the span among those of the read, ``last_rows`` how many of the
    last rows hold all its tokens.
    """

    span: int
    last_rows: int
    floor: float = 1e-6

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B ..."]:
        """Reduce a layer."""
        if moment.step:
            return moment.members.new_zeros((len(moment.row), 0))
        stop = view.first_row + view.n_rows
        first = max(view.first_row, stop - self.last_rows)
        logs = (view.mass(slice(first, stop), moment.members) + self.floor).log()
        inside = moment.members[:, None, first:stop, self.span, None] > 0
        count = inside.sum(2)
        mean = logs.where(inside, 0.0).sum(2) / count
        spread = (logs - mean[:, :, None]).square().where(inside, 0.0).sum(2) / count
        highest, lowest = logs.where(inside, -torch.inf).amax(2), logs.where(inside, torch.inf).amin(2)
        return torch.stack([mean, highest, lowest, spread.sqrt()], 2)


@dataclass(frozen=True, slots=True)
class GroupMass:
    """Mean mass that the rows of the last ``groups`` spans put on each span, ``[B, H, G, S]``; not of generated tokens.

    ``last_rows`` is how many of the last rows hold all tokens of these spans.
    """

    groups: int
    last_rows: int

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B ..."]:
        """Reduce a layer."""
        if moment.step:
            return moment.members.new_zeros((len(moment.row), 0))
        stop = view.first_row + view.n_rows
        rows = slice(max(view.first_row, stop - self.last_rows), stop)
        inside = moment.members[:, rows, -self.groups :]
        return torch.einsum("bhqs,bqg->bhgs", view.mass(rows, moment.members), inside / inside.sum(1, keepdim=True))


@dataclass(frozen=True, slots=True)
class AllRowsMass:
    """Mass of every row's attention on each span, ``[B, H, Q, S]``."""

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B H Q S"]:
        """Reduce a layer."""
        return view.mass(slice(None), moment.members)


@dataclass(frozen=True, slots=True)
class RowEntropy:
    """Entropy of every row in nats, ``[B, H, Q]``."""

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B H Q"]:
        """Reduce a layer."""
        del moment
        return view.entropy()


@dataclass(frozen=True, slots=True)
class Received:
    """What each key receives from all rows, ``[B, H, T]``."""

    def __call__(self, view: LayerView, moment: Moment) -> Float[Tensor, "B H T"]:
        """Reduce a layer."""
        del moment
        return view.received()
