"""What an evaluation of citation found: each method on each data set, as values, JSON and tables."""

from dataclasses import dataclass
from typing import Any

from heed.evaluation.asked import Regime
from heed.evaluation.estimate import MISSING, Estimate, number, record
from heed.evaluation.guard import Table

BASELINE = "bm25"
"""What every method is held against."""
FLOOR = ("random", "lead", "recency", BASELINE)
"""What every table holds beside the methods asked for."""
REMOVED = 5
"""Facts taken out of the context for the log-probability lost."""
Ranking = dict[str, Any]
"""``set``, ``regime``, ``method``, ``id`` and ``ranking``: facts of the question, best first."""
_TOLD = {"question": "the question", "response": "question and answer"}
_BRIEF = (0, 1, 2, 3, 4, 7, 5, 6, 9, 13)
"""Places of `SetResult.table` that fit a terminal."""
_NAMES = {"recall@1": "R@1", "recall@3": "R@3", "recall@5": "R@5", "all@5": "all@5", "nDCG@10": "nDCG@10"}


@dataclass(frozen=True, slots=True)
class Controls:
    """What is measured beside recall, and on how many questions of each set (0: not at all)."""

    shuffled: int = 40
    """The same facts in another order."""
    swapped: int = 40
    """Another row's question and answer."""
    drops: int = 20
    """Answers scored again without the first `REMOVED` facts."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodResult:
    """One method on one data set; intervals are 95 % bootstrap intervals over questions."""

    rows: int
    """Questions it was asked: all of the set, but for methods that are limited."""
    means: dict[str, float]
    """Each of `heed.evaluation.retrieved.MEASURES`."""
    recall: Estimate
    """Recall@5 with its interval."""
    differences: dict[str, Estimate]
    """Each measure minus the baseline's, on the same questions (paired); empty for the baseline itself."""
    seconds: float
    passes: float
    peak_bytes: int | None
    refused: int
    shuffled: Estimate | None = None
    """Recall@5 with the facts in another order minus recall@5 as they stand (paired)."""
    swapped: float | None = None
    """Recall@5 with another row's words: what is left is position and chance."""
    drop: Estimate | None = None
    """Log-probability (nats, of the whole answer) lost without its first five facts."""

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "rows": self.rows,
            **self.means,
            "recall@5_interval": [self.recall.low, self.recall.high],
            "difference": {name: one.record() for name, one in self.differences.items()},
            "shuffled": record(self.shuffled),
            "swapped": self.swapped,
            "drop": record(self.drop),
            "seconds": self.seconds,
            "passes": self.passes,
            "peak_bytes": self.peak_bytes,
            "refused": self.refused,
        }

    def cells(self) -> tuple[str, ...]:
        """As a row of `SetResult.table`."""
        return (
            str(self.rows),
            *(number(self.means[name]) for name in _NAMES),
            *(_signed(self.differences.get(name)) for name in ("recall@5", "nDCG@10")),
            MISSING if self.drop is None else f"{self.drop.value:.2f} ({self.drop.low:.2f} to {self.drop.high:.2f})",
            _signed(self.shuffled),
            number(self.swapped),
            f"{self.passes:.1f}",
            f"{self.seconds:.3f}",
            MISSING if self.peak_bytes is None else f"{self.peak_bytes / 1e6:.0f}",
        )


@dataclass(frozen=True, slots=True, eq=False)
class SetResult:
    """All methods on one data set, told the question alone or the answer too."""

    name: str
    regime: Regime
    rows: int
    facts: float
    """Of a context, on the mean."""
    gold: float
    """Of a question, on the mean."""
    oracle: dict[str, float]
    """The most each measure can reach."""
    methods: dict[str, MethodResult]

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "set": self.name,
            "regime": self.regime,
            "rows": self.rows,
            "facts": self.facts,
            "gold": self.gold,
            "oracle": self.oracle,
            "methods": {name: one.record() for name, one in self.methods.items()},
        }

    @property
    def title(self) -> str:
        """What was asked of what."""
        return (
            f"{self.name}, told {_TOLD[self.regime]}: {self.rows} questions, {self.facts:.1f} facts, "
            f"{self.gold:.1f} of them gold"
        )

    def table(self, *, brief: bool = False) -> Table:
        """Every method, header first; beside each recall, what an oracle reaches. ``brief``: quality and time alone."""
        reached = [f"{short} (of {self.oracle[name]:.2f})" for name, short in _NAMES.items()]
        minus = [f"R@5 − {BASELINE} (95 %)", f"nDCG@10 − {BASELINE} (95 %)"]
        costs = [f"drop@{REMOVED}", "R@5 change, reordered", "R@5 swapped", "passes", "s", "MB"]
        rows = [("method", "n", *reached, *minus, *costs)]
        rows += [(name, *found.cells()) for name, found in self.methods.items()]
        return [tuple(row[at] for at in _BRIEF) for row in rows] if brief else rows


@dataclass(frozen=True, slots=True, eq=False)
class CitationEvaluation:
    """Every method on every data set."""

    model: str
    baseline: str
    data: str
    """Identity of the questions."""
    sets: tuple[SetResult, ...]
    notes: tuple[str, ...]
    """What a reader must know before believing the numbers."""
    rankings: tuple[Ranking, ...]
    """One for each question, method and regime."""

    def record(self) -> dict[str, Any]:
        """The report without rankings and texts, JSON-ready."""
        return {
            "model": self.model,
            "baseline": self.baseline,
            "data": self.data,
            "sets": [one.record() for one in self.sets],
            "notes": list(self.notes),
        }

    def tables(self, *, brief: bool = False) -> tuple[tuple[str, Table], ...]:
        """Title and rows: an overview for each regime, then every set."""
        regimes = list(dict.fromkeys(one.regime for one in self.sets))
        overviews = [(f"Recall@5, told {_TOLD[regime]}", self._overview(regime)) for regime in regimes]
        return (*overviews, *((one.title, one.table(brief=brief)) for one in self.sets))

    def _overview(self, regime: Regime) -> Table:
        own = [one for one in self.sets if one.regime == regime]
        names = list(dict.fromkeys(name for one in own for name in one.methods))
        best = ("oracle", *(number(one.oracle["recall@5"]) for one in own))
        rows = [(name, *(_brief(one.methods.get(name)) for one in own)) for name in names]
        return [("method", *(f"{one.name} ({one.rows})" for one in own)), best, *rows]


def _brief(found: MethodResult | None) -> str:
    """Recall@5, and how far from the baseline's; a star where the interval leaves out 0."""
    if found is None:
        return MISSING
    difference = found.differences.get("recall@5")
    if difference is None:
        return f"{found.means['recall@5']:.3f}"
    star = "" if difference.low <= 0.0 <= difference.high else "*"
    return f"{found.means['recall@5']:.3f} ({difference.value:+.3f}{star})"


def _signed(difference: Estimate | None) -> str:
    if difference is None:
        return MISSING
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
