"""Methods of citation held against questions whose supporting facts are known, side by side with controls.

Methods and labelled questions come in; recall, nDCG, log-probability lost, time, passes and memory go out, each method
on the same questions as the baseline. Nothing is fitted here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from heed.citation import Method
from heed.citation.data import LabelledQuestion, data_hash
from heed.citation.question import Question
from heed.errors import TooLongError
from heed.evaluation.asked import Regime, asked_of, shuffled, swapped, tell
from heed.evaluation.cited import BASELINE, REMOVED, CitationEvaluation, Controls, MethodResult, Ranking, SetResult
from heed.evaluation.estimate import Estimate
from heed.evaluation.judged import Progress
from heed.evaluation.retrieved import Retrieved, Tick, measured, oracle, retrieve
from heed.measure import bootstrap_interval

Loss = Callable[[Collection[int]], float]
"""How much log-probability (nats) one answer loses without some facts (`heed.citation.ablation.Ablations.drop`)."""

_REPEATS = 2000
_MAIN = "recall@5"


def evaluate_citation(
    methods: Mapping[str, Method],
    rows: Sequence[LabelledQuestion],
    *,
    model: str,
    by_set: Mapping[str, Mapping[str, Method]] | None = None,
    regimes: Sequence[Regime] = ("question", "response"),
    loss: Callable[[Question], Loss] | None = None,
    limits: Mapping[str, int] | None = None,
    longest: int | None = None,
    controls: Controls | None = None,
    progress: Progress | None = None,
) -> CitationEvaluation:
    """Rank the facts of every question by every method, and measure.

    Parameters
    ----------
    methods
        By name; `bm25` among them is the baseline that the others are held against.
    rows
        `heed.citation.data.load_questions`; those without gold facts are left out, which a note says.
    model
        Its name, for the report.
    by_set
        For each data set, methods of its own, such as those fitted without it; they stand beside the others.
    regimes
        Tell the question alone, or question and answer (of rows that have one).
    loss
        Makes the loss of a question's answer; None: it is not measured.
    limits
        Most questions of a set for slow methods, by name, drawn at random; the difference is taken on the same. They
        are not asked again for controls.
    longest
        Most characters of a context that slow methods are asked about and answers are scored again on: both cost a
        pass for each change of the context. None: any. Questions of shorter contexts then also come first for controls.
    progress
        Called with rankings done and to do.

    Raises
    ------
    RecordError
        If no question can be asked.
    """
    told = asked_of(rows, regimes)
    extra, most = controls or Controls(), limits or {}
    every = {name: {**methods, **(by_set or {}).get(name, {})} for name, _ in told}
    tick = _ticker(progress, sum(_work(every[name], len(own), most, extra) for (name, _), own in told.items()))
    runs = [
        _SetRun(name, regime, _mixed(own, longest), extra, tick, _Drops(loss, longest), longest)
        for (name, regime), own in told.items()
        if own
    ]
    return CitationEvaluation(
        model=model,
        baseline=BASELINE,
        data=data_hash(rows),
        sets=tuple(run.ask_all(every[run.name], most) for run in runs),
        notes=(*_notes(rows, longest), *(note for run in runs for note in run.notes)),
        rankings=tuple(ranking for run in runs for ranking in run.rankings),
    )


def _mixed(rows: Sequence[LabelledQuestion], longest: int | None) -> list[LabelledQuestion]:
    """In a random order, so that the first of them stand for all; contexts that are too long come last."""
    mixed = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    return sorted(mixed, key=lambda row: _too_long(row.question, longest))


def _too_long(question: Question, longest: int | None) -> bool:
    return longest is not None and len(question.context) > longest


@dataclass(slots=True)
class _SetRun:
    """One data set under one regime; collects notes and rankings on the way."""

    name: str
    regime: Regime
    rows: Sequence[LabelledQuestion]
    controls: Controls
    tick: Tick
    drops: "_Drops"
    longest: int | None
    notes: list[str] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)

    def ask_all(self, methods: Mapping[str, Method], limits: Mapping[str, int]) -> SetResult:
        """Ask every method, the baseline first, and hold them against it."""
        found: dict[str, MethodResult] = {}
        base: dict[str, np.ndarray] = {}
        for name in sorted(methods, key=lambda one: one != BASELINE):
            told = self._short[: limits[name]] if name in limits else self.rows
            if not told:
                self.notes.append(f"{name} was not asked about {self._where}: every context is too long for it")
                continue
            answers = self._ask(methods[name], told)
            self._keep(name, told, answers)
            if answers.refused == len(told):
                continue
            values = measured(answers.rankings, told)
            again = None if name in limits else methods[name]
            found[name] = self._result(again, told, answers, values=values, base=base)
            if name == BASELINE:
                base = values
        return SetResult(
            name=self.name,
            regime=self.regime,
            rows=len(self.rows),
            facts=float(np.mean([len(row.question.units) for row in self.rows])),
            gold=float(np.mean([len(row.gold) for row in self.rows])),
            oracle=oracle(self.rows),
            methods={name: found[name] for name in methods if name in found},
        )

    @property
    def _where(self) -> str:
        return f"{self.name} ({self.regime})"

    @property
    def _short(self) -> list[LabelledQuestion]:
        return [row for row in self.rows if not _too_long(row.question, self.longest)]

    def _result(
        self,
        method: Method | None,
        told: Sequence[LabelledQuestion],
        answers: Retrieved,
        *,
        values: Mapping[str, np.ndarray],
        base: Mapping[str, np.ndarray],
    ) -> MethodResult:
        return MethodResult(
            rows=len(told),
            means={measure: float(one.mean()) for measure, one in values.items()},
            recall=_mean(values[_MAIN]),
            differences={measure: _mean(values[measure] - one[: len(told)]) for measure, one in base.items()},
            seconds=answers.seconds,
            passes=answers.passes,
            peak_bytes=answers.peak_bytes,
            refused=answers.refused,
            shuffled=None if method is None else self._shuffled(method, told, values[_MAIN]),
            swapped=None if method is None else self._swapped(method, told),
            drop=self.drops.mean(told[: self.controls.drops], answers.rankings),
        )

    def _ask(self, method: Method, rows: Sequence[LabelledQuestion]) -> Retrieved:
        return retrieve(method, [tell(row.question, self.regime) for row in rows], self.tick)

    def _shuffled(self, method: Method, told: Sequence[LabelledQuestion], recall: np.ndarray) -> Estimate | None:
        rows = shuffled(told[: self.controls.shuffled])
        if not rows:
            return None
        again = measured(self._ask(method, rows).rankings, rows)
        return _mean(again[_MAIN] - recall[: len(rows)])

    def _swapped(self, method: Method, told: Sequence[LabelledQuestion]) -> float | None:
        rows = swapped(told[: self.controls.swapped])
        if not rows:
            return None
        return float(measured(self._ask(method, rows).rankings, rows)[_MAIN].mean())

    def _keep(self, method: str, told: Sequence[LabelledQuestion], answers: Retrieved) -> None:
        if answers.refused:
            said = "left out" if answers.refused == len(told) else "they count as nothing found"
            self.notes.append(
                f"{method} could not be asked {answers.refused} of {len(told)} questions of {self._where}, {said}; "
                f"first: {answers.reason}"
            )
        if answers.windows > 1:
            self.notes.append(
                f"{method} read contexts of {self._where} in up to {answers.windows} stretches: too long for one"
            )
        self.rankings += [
            {"set": self.name, "regime": self.regime, "method": method, "id": row.id, "ranking": list(ranking)}
            for row, ranking in zip(told, answers.rankings, strict=True)
        ]


class _Drops:
    """What the answers of one data set lose without the first facts of a ranking."""

    def __init__(self, loss: Callable[[Question], Loss] | None, longest: int | None) -> None:
        self.loss = loss
        self.longest = longest
        self.known: dict[int, Loss] = {}

    def mean(self, rows: Sequence[LabelledQuestion], rankings: Sequence[Sequence[int]]) -> Estimate | None:
        """Over the rows with an answer, more facts than are removed, and a prompt that can be scored; None of none."""
        found = [
            lost
            for place, (row, ranking) in enumerate(zip(rows, rankings, strict=False))
            if ranking and row.question.response is not None and len(row.question.units) > REMOVED
            if (lost := self._of(place, row.question, ranking[:REMOVED])) is not None
        ]
        return _mean(np.array(found)) if found else None

    def _of(self, place: int, question: Question, removed: Sequence[int]) -> float | None:
        if self.loss is None or _too_long(question, self.longest):
            return None
        if place not in self.known:
            self.known[place] = self.loss(question)
        try:
            return self.known[place](removed)
        except TooLongError:  # the whole context does not fit: so it is for every method
            return None


def _mean(values: np.ndarray) -> Estimate:
    return Estimate.of(values.mean(), bootstrap_interval(np.mean, values, repeats=_REPEATS))


def _notes(rows: Sequence[LabelledQuestion], longest: int | None) -> Iterator[str]:
    for name in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == name]
        without = sum(not row.gold for row in own)
        if without:
            yield f"{without} of {len(own)} questions of {name} have no gold fact and are left out"
        alone = sum(len(row.question.units) == 1 for row in own if row.gold)
        if alone:
            yield f"{alone} questions of {name} have one fact only: every method finds it"
        long = sum(_too_long(row.question, longest) for row in own)
        if long:
            yield (
                f"{long} of {len(own)} contexts of {name} have more than {longest} characters: slow methods were not "
                "asked about them, and their answers not scored again"
            )


def _work(methods: Iterable[str], size: int, limits: Mapping[str, int], controls: Controls) -> int:
    """Rankings to be made of one set at most."""
    again = min(size, controls.shuffled) + min(size, controls.swapped)
    return sum(min(size, limits[name]) if name in limits else size + again for name in methods)


def _ticker(progress: Progress | None, total: int) -> Tick:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick
