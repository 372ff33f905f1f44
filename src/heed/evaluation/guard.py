"""A guard held against labelled data sets: verdicts come in; how well it ranks, decides and points goes out.

The threshold is the guard's own, fixed before; nothing here is fitted on the rows that are judged, but for the
controls, which are cross-validated on them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import numpy as np

from heed.evaluation.estimate import MISSING, number, percent
from heed.evaluation.judged import Judge, Judged, Progress, judge
from heed.evaluation.measures import FPRS, Measures, Rates, measures
from heed.evaluation.slices import slices
from heed.guard.data import LabelledPair
from heed.guard.duplicates import Duplicates, duplicates

Table = list[tuple[str, ...]]
"""Rows of cells, the header first."""

OVERALL = "all together"
_AT = tuple(f"at {100 * fpr:g} %" for fpr in FPRS)
_RANKING = ("ranking", "rows", "AUROC", "AUPRC", "matched", "length", "TF-IDF", "chance", *_AT)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How well a guard did: on all rows, on each data set, on each kind of row."""

    model: str
    way: str
    """How the guard was made: ``as it is``, or fitted anew without the set it judged."""
    overall: Measures
    sets: dict[str, Measures]
    slices: dict[str, dict[str, Rates]]
    """By kind (attack, position, language, category, length) and value."""
    duplicates: tuple[Duplicates, ...]
    notes: tuple[str, ...]
    """What a reader must know before believing the numbers."""
    judged: Judged

    def record(self) -> dict[str, Any]:
        """The report without rows and texts, JSON-ready."""
        return {
            "model": self.model,
            "way": self.way,
            "overall": self.overall.record(),
            "sets": {name: one.record() for name, one in self.sets.items()},
            "slices": {kind: {value: r.record() for value, r in of.items()} for kind, of in self.slices.items()},
            "duplicates": [one.record() for one in self.duplicates],
            "notes": list(self.notes),
        }

    def tables(self) -> tuple[Table, ...]:
        """How it ranks and what its threshold does, by data set; and both by kind of row."""
        sets = [*self.sets.items(), *([(OVERALL, self.overall)] if len(self.sets) > 1 else [])]
        ranks = [_RANKING, *starmap(_ranks, sets)]
        decides = [("threshold", "benign", "attacks", "caught %", "alarms %", "F1", "abst."), *starmap(_decides, sets)]
        kinds = [("kind", "value", "rows", "attacks", "AUROC", "caught %", "alarms %"), *self._kinds()]
        return ranks, decides, kinds

    def _kinds(self) -> Iterator[tuple[str, ...]]:
        for kind, of in self.slices.items():
            for value, one in of.items():
                counts, shares = (str(one.rows), str(one.attacks)), (percent(one.caught), percent(one.alarms))
                yield (kind, value, *counts, number(one.auroc), *shares)


def evaluate(guard: Judge, pairs: Sequence[LabelledPair], *, progress: Progress | None = None) -> Evaluation:
    """Judge labelled pairs and measure the verdicts.

    Parameters
    ----------
    guard
        A `Guard`, an `Ensemble`, or anything with their ``check_many``.
    pairs
        Rows of one or more data sets (`heed.guard.data.load_pairs`).
    progress
        Called with rows done and rows to do.

    Raises
    ------
    RecordError
        If there is no row.
    ExtraMissingError
        If scipy and scikit-learn (the extra ``fit``) are not installed.
    """
    return report(judge(guard, pairs, progress=progress))


def report(judged: Judged, *, way: str = "as it is") -> Evaluation:
    """Measure verdicts that are already there."""
    found = duplicates(judged.pairs)
    return Evaluation(
        model=judged.verdicts[0].model,
        way=way,
        overall=measures(judged),
        sets={name: measures(judged.of_set(name)) for name in judged.groups},
        slices=slices(judged),
        duplicates=found,
        notes=(*_notes(judged), *(one.says() for one in found)),
        judged=judged,
    )


def _notes(judged: Judged) -> Iterator[str]:
    for name in judged.groups:
        own = judged.of_set(name)
        labels = set(own.labels.tolist())
        if len(labels) == 1:
            held = "attacks" if 1 in labels else "benign rows"
            yield f"{name} holds {held} only: it says nothing of how they rank"
        scores = own.scores[np.isfinite(own.scores)]
        if scores.size > 1 and np.ptp(scores) == 0:
            yield f"every score of {name} is {scores[0]:g}: the guard ranks nothing there"
    yield from _abstentions(judged)


def _abstentions(judged: Judged) -> Iterator[str]:
    reasons = Counter(verdict.status for verdict in judged.verdicts if verdict.flagged is None)
    for status, count in reasons.most_common():
        first = next(p for p, v in zip(judged.pairs, judged.verdicts, strict=True) if v.status == status)
        yield (
            f"{count} rows were abstained from ({status}; first: row {first.id} of {first.group}): alarms where they "
            "are benign, misses where they are attacks"
        )


def _ranks(name: str, one: Measures) -> tuple[str, ...]:
    ranking = one.ranking
    if ranking is None:
        return (name, str(one.rates.rows), *[MISSING] * (len(_RANKING) - 2))
    controls, chance = ranking.controls, ranking.controls.shuffled
    areas = (one.rates.auroc, ranking.auprc, ranking.matched, controls.length, controls.tfidf)
    spread = f"{chance.value:.2f} ({chance.low:.2f}-{chance.high:.2f})"
    return (name, str(one.rates.rows), *map(number, areas), spread, *(number(ranking.tpr_at[fpr]) for fpr in FPRS))


def _decides(name: str, one: Measures) -> tuple[str, ...]:
    rates = one.rates
    f1 = number(None if one.localisation is None else one.localisation.f1)
    counts = (str(rates.rows - rates.attacks), str(rates.attacks))
    return (name, *counts, percent(rates.caught), percent(rates.alarms), f1, str(rates.abstained))
