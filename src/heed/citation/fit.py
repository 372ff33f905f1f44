"""Learn which heads show the facts that matter, from questions whose supporting facts are known.

Every question is read once for each kind of rows. Weights are found by ridge regression on the facts' contrasts
(`heed.profile.ranking`), gold against not. Penalty and depth are chosen by the recall on data sets that were left out
where there are three or more, for other texts are what a profile meets; else on rows left out by fifths. Both are told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from heed.citation.data import LabelledQuestion, data_hash
from heed.citation.learned import TASK
from heed.citation.reading import hear, stretches
from heed.citation.scores import ranked
from heed.errors import InputError, TooLongError
from heed.measure.retrieval import recall_at
from heed.model import Model
from heed.profile import RankingProfile
from heed.profile.ranking import contrasts
from heed.profile.ridge import Ridge

STRENGTHS = (0.3, 1.0, 3.0)
"""Penalties. Below them weights follow the sets they were learned from (LOG.md)."""
SHARES = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the layers: depths that are tried."""
ENOUGH = 0.005
"""Of two depths whose recall differs by less, the shallower is taken."""
FOLDS = 5
SETS = 3
"""With as many data sets they are left out to choose; of two, each time one alone would be learned from."""
AT = 5
"""Recall is measured among the first five facts."""
_KINDS = ("question", "response")
_LEFT_OUT = ("recall_at_5_rows_left_out", "recall_at_5_sets_left_out")


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What was heard of one question: contrasts ``[U, G, L, H]``, which facts are gold, and its data set."""

    contrasts: Float[np.ndarray, "U G L H"]
    gold: frozenset[int]
    group: str
    id: str


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    depth: int
    strength: float
    weights: Float[np.ndarray, "G L H"]
    recall: tuple[dict[str, float], ...]
    """By data set, of weights that did not see the row's fifth of all rows; and of weights that did not see its set."""
    chosen_by: int
    """Which of the two it was chosen by."""

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.recall[self.chosen_by].values())))


def fit(
    model: Model,
    rows: Sequence[LabelledQuestion],
    *,
    source: str = "fitted by `heed cite fit`",
    progress: Callable[[int, int], None] | None = None,
) -> RankingProfile:
    """A profile for the learned method: weights for question rows, and for answer rows where there are answers.

    Rows without gold facts, with fewer than two facts, or longer than the model's window teach nothing and are left
    out. A minute for a hundred rows of five hundred tokens on two cores.

    Raises
    ------
    InputError
        If fewer than ten rows are left.
    """
    usable = [row for row in rows if 0 < len(row.gold) < len(row.question.units)]
    jobs = [(kind, row) for kind in _KINDS for row in usable if kind == "question" or row.question.response is not None]
    heard: dict[str, list[Read]] = {kind: [] for kind in _KINDS}
    for done, (kind, row) in enumerate(jobs):
        if progress is not None:
            progress(done, len(jobs))
        found = read_row(model, row, kind=kind)
        if found is not None:
            heard[kind].append(found)
    if len(heard["question"]) < 10:
        raise InputError(
            f"expected at least 10 questions with gold facts that fit the model's window, found "
            f"{len(heard['question'])} of {len(rows)}: add more"
        )
    return learn(model, heard, source=source, data=data_hash(rows))


def read_row(model: Model, row: LabelledQuestion, *, kind: str) -> Read | None:
    """One pass over a row; None if it does not fit the model's window."""
    response = kind == "response"
    asked = row.question if response else replace(row.question, response=None)
    try:
        if len(stretches(model, asked)) > 1:
            return None
    except TooLongError:
        return None
    heard = hear(model, asked, response=response)
    mass = heard.whole[None] if response else heard.mass
    return Read(np.moveaxis(contrasts(mass), -1, 0).astype(np.float16), row.gold, row.group, row.id)


def learn(model: Model, heard: dict[str, list[Read]], *, source: str, data: str) -> RankingProfile:
    """Weights for each kind of rows that at least ten rows are of."""
    fitted = {kind: _best(reads, model.anatomy.layers) for kind, reads in heard.items() if len(reads) >= 10}
    quality = {
        kind: {
            "rows": len(heard[kind]),
            "depth": one.depth,
            "chosen_by": _LEFT_OUT[one.chosen_by],
            **{name: _rounded(own) for name, own in zip(_LEFT_OUT, one.recall, strict=False)},
        }
        for kind, one in fitted.items()
    }
    return RankingProfile(
        task=TASK,
        model=model.name,
        n_layers=model.anatomy.layers,
        n_heads=model.anatomy.heads,
        weights={kind: one.weights for kind, one in fitted.items()},
        source=source,
        method=", ".join(f"{kind}: depth {one.depth}, penalty {one.strength}" for kind, one in fitted.items()),
        fingerprints=(model.fingerprint,),
        data_hash=data,
        quality=quality,
    )


def _best(reads: Sequence[Read], layers: int) -> _Fitted:
    """The best penalty at the shallowest depth that is nearly as good as any."""
    folds = [[str(place % FOLDS) for place in range(len(reads))]]
    sets = len({one.group for one in reads})
    if sets > 1:
        folds.append([one.group for one in reads])
    features = [one.contrasts.reshape(len(one.contrasts), -1).astype(np.float64) for one in reads]
    sums = [_sums(reads, features, own) for own in folds]
    tried = []
    for depth in sorted({max(1, round(layers * share)) for share in SHARES}):
        columns = np.arange(reads[0].contrasts[0].size).reshape(reads[0].contrasts.shape[1:])[:, :depth].ravel()
        found = []
        for strength in STRENGTHS:
            recall = [
                _left_out(one, reads, features, own, columns, strength) for one, own in zip(sums, folds, strict=True)
            ]
            weights = sums[0].solve(strength, columns=columns).weights.reshape(reads[0].contrasts.shape[1:])[:, :depth]
            found.append(_Fitted(depth, strength, weights.astype(np.float32), tuple(recall), int(sets >= SETS)))
        tried.append(max(found, key=lambda one: one.mean))
    enough = max(one.mean for one in tried) - ENOUGH
    return next(one for one in tried if one.mean >= enough)


def _sums(reads: Sequence[Read], features: Sequence[np.ndarray], folds: Sequence[str]) -> Ridge:
    labels = np.concatenate([np.isin(np.arange(len(one.contrasts)), list(one.gold)) for one in reads]).astype(int)
    rows = np.repeat(folds, [len(one) for one in features])
    return Ridge.of(np.concatenate(features), labels, _weights(reads), rows)


def _left_out(  # noqa: PLR0917 - one call, made once
    sums: Ridge, reads: Sequence[Read], features: Sequence[np.ndarray], folds: Sequence[str], columns: np.ndarray,
    strength: float,
) -> dict[str, float]:  # fmt: skip
    """Recall by data set, of weights that were learned without a row's fold."""
    linear = {fold: sums.solve(strength, without=fold, columns=columns) for fold in sorted(set(folds))}
    hits: dict[str, list[float]] = {}
    for one, rows, fold in zip(reads, features, folds, strict=True):
        hits.setdefault(one.group, []).append(recall_at(ranked(linear[fold](rows)), one.gold, AT))
    return {group: float(np.mean(found)) for group, found in sorted(hits.items())}


def left_out_scores(reads: Sequence[Read], folds: Sequence[str], depth: int) -> list[Float[np.ndarray, " U"]]:
    """The facts' scores of each row by weights of the usual penalty that were learned without its fold."""
    features = [one.contrasts.reshape(len(one.contrasts), -1).astype(np.float64) for one in reads]
    sums = _sums(reads, features, folds)
    columns = np.arange(reads[0].contrasts[0].size).reshape(reads[0].contrasts.shape[1:])[:, :depth].ravel()
    linear = {fold: sums.solve(STRENGTHS[0], without=fold, columns=columns) for fold in sorted(set(folds))}
    return [linear[fold](rows) for fold, rows in zip(folds, features, strict=True)]


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _weights(reads: Sequence[Read]) -> Float[np.ndarray, " N"]:
    """Every row counts alike, and so do gold and other facts within a row."""
    found = []
    for one in reads:
        gold = np.isin(np.arange(len(one.contrasts)), list(one.gold))
        found.append(np.where(gold, 0.5 / gold.sum(), 0.5 / (~gold).sum()))
    weights = np.concatenate(found)
    return np.asarray(weights / weights.mean())
