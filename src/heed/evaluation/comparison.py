"""Two guards on the same rows, side by side, and whether both together are worth more than the better one.

The guards are made one after the other, and the first is let go of before the second is loaded: the memory of one
suffices.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from heed.evaluation.estimate import Estimate
from heed.evaluation.guard import OVERALL, Table
from heed.evaluation.judged import Judged, Progress, judge
from heed.guard.data import LabelledPair
from heed.guard.duplicates import duplicates
from heed.guard.ensemble import Bars, Member, Method, combine
from heed.measure import auroc, bootstrap_interval, tpr_at_fpr

_REPEATS = 1000


class _Statistic(Protocol):
    def __call__(self, labels: np.ndarray, ranks: np.ndarray, flagged: np.ndarray, /) -> float: ...


def _caught(labels: np.ndarray, _: np.ndarray, flagged: np.ndarray) -> float:
    return float(flagged[labels == 1].mean())


def _alarms(labels: np.ndarray, _: np.ndarray, flagged: np.ndarray) -> float:
    return float(flagged[labels == 0].mean())


_RANKED: dict[str, _Statistic] = {
    "AUROC": lambda labels, ranks, _: auroc(labels, ranks),
    "TPR at 1 % FPR": lambda labels, ranks, _: tpr_at_fpr(labels, ranks, 0.01),
}
_DECIDED: dict[int, tuple[str, _Statistic]] = {1: ("caught", _caught), 0: ("false alarms", _alarms)}


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure on one data set: what each of two guards reaches, and the second's minus the first's.

    Shares in [0, 1]; the interval is a paired bootstrap's over rows: both guards judge the same draws.
    """

    set: str
    measure: str
    first: float
    second: float
    difference: Estimate

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.difference.low <= 0.0 <= self.difference.high

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "set": self.set,
            "measure": self.measure,
            "first": self.first,
            "second": self.second,
            "difference": self.difference.record(),
            "differs": self.differs,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two guards side by side, and their ensemble held against the better of them."""

    names: tuple[str, str]
    differences: tuple[Difference, ...]
    ensemble: tuple[Difference, ...]
    """``first`` is the better single guard (by AUROC on these rows), ``second`` the ensemble; empty where there is
    none."""
    verdict: str
    """Whether the ensemble gains anything, as a sentence."""
    notes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "names": list(self.names),
            "differences": [one.record() for one in self.differences],
            "ensemble": [one.record() for one in self.ensemble],
            "ensemble_says": self.verdict,
            "notes": list(self.notes),
        }

    def table(self) -> Table:
        """The two guards, header first."""
        return [("data set", "measure", *self.names, "difference (95 %)", ""), *_rows(self.differences)]

    def ensemble_table(self) -> Table:
        """The better guard and the ensemble, header first; only a header where there is none."""
        return [("data set", "measure", "better one", "ensemble", "difference (95 %)", ""), *_rows(self.ensemble)]


def compare(
    loaders: Sequence[tuple[str, Callable[[], Member]]],
    pairs: Sequence[LabelledPair],
    *,
    method: Method = "average",
    progress: Progress | None = None,
) -> Comparison:
    """Judge the same rows by two guards and compare them.

    Parameters
    ----------
    loaders
        Name and maker of each of the two guards; a maker must keep no reference to what it makes.
    method
        How the ensemble of both decides.
    progress
        Called with verdicts given and verdicts to give, of both guards together.

    Raises
    ------
    RecordError
        If there is no row.
    """
    (first, load_first), (second, load_second) = loaders
    a, bars_a = _judged(load_first, pairs, 0, progress)
    gc.collect()  # models that other libraries have hooked into are rings of references: only the collector frees these
    b, bars_b = _judged(load_second, pairs, len(pairs), progress)
    both = Judged(
        a.pairs,
        tuple(
            combine(verdicts, (bars_a, bars_b), method=method, given=pair.instruction is not None)
            for pair, *verdicts in zip(a.pairs, a.verdicts, b.verdicts, strict=True)
        ),
    )
    named, best = _better((first, a), (second, b))
    impossible = _impossible(a, b, both)
    ensemble = () if impossible else tuple(differences(best, both, overall=True))
    return Comparison(
        names=(first, second),
        differences=tuple(differences(a, b)),
        ensemble=ensemble,
        verdict=impossible or _gains(ensemble, named, method),
        notes=tuple(one.says() for one in duplicates(pairs)),
    )


def differences(first: Judged, second: Judged, *, overall: bool = False) -> Iterator[Difference]:
    """The second's measures minus the first's, on each data set and on all (``overall``: on all only)."""
    groups = () if overall else first.groups
    for name in groups:
        yield from _differences(name, first.of_set(name), second.of_set(name))
    if len(groups) != 1:
        yield from _differences(OVERALL, first, second)


def _judged(
    load: Callable[[], Member], pairs: Sequence[LabelledPair], before: int, progress: Progress | None
) -> tuple[Judged, Bars]:
    guard = load()
    counted: Progress | None = None
    if progress is not None:
        tell = progress
        counted = lambda done, total: tell(before + done, 2 * total)  # noqa: E731 - a name would say no more
    return judge(guard, pairs, progress=counted), Bars.of(guard)


def _differences(name: str, first: Judged, second: Judged) -> Iterator[Difference]:
    labels = first.labels
    classes = set(labels.tolist())
    statistics = list(_RANKED.items()) if len(classes) == 2 else []
    statistics += [_DECIDED[label] for label in (1, 0) if label in classes]
    columns = (labels, first.ranks, first.flagged, second.ranks, second.flagged)
    for measure, of in statistics:

        def difference(labels: Any, *columns: Any, of: _Statistic = of) -> float:
            return of(labels, *columns[2:]) - of(labels, *columns[:2])

        interval = bootstrap_interval(difference, *columns, repeats=_REPEATS, stratify=labels)
        estimate = Estimate.of(difference(*columns), interval)
        yield Difference(name, measure, of(*columns[:3]), of(labels, *columns[3:]), estimate)


def _better(*guards: tuple[str, Judged]) -> tuple[str, Judged]:
    return max(guards, key=lambda guard: auroc(guard[1].labels, guard[1].ranks))


def _impossible(a: Judged, b: Judged, both: Judged) -> str:
    """Why there is no ensemble; empty where there is."""
    silent = [v for v, *members in zip(both.verdicts, a.verdicts, b.verdicts, strict=True)
              if v.flagged is None and all(member.flagged is not None for member in members)]  # fmt: skip
    if silent:
        return f"no ensemble: {silent[0].reason}"
    return f"no ensemble: {both.verdicts[0].reason}" if both.abstained.all() else ""


def _gains(ensemble: Sequence[Difference], better: str, method: Method) -> str:
    found = next(one for one in ensemble if one.measure == "AUROC")
    d = found.difference
    word = "gains nothing" if not found.differs else "gains" if d.value > 0 else "loses"
    return f"the ensemble ({method}) {word} over {better}: AUROC {d.value:+.4f} ({d.low:+.4f} to {d.high:+.4f})"


def _rows(found: Sequence[Difference]) -> Iterator[tuple[str, ...]]:
    for one in found:
        d = one.difference
        said = f"{d.value:+.4f} ({d.low:+.4f} to {d.high:+.4f})"
        sign = "differs" if one.differs else "no difference shown"
        yield (one.set, one.measure, f"{one.first:.4f}", f"{one.second:.4f}", said, sign)
