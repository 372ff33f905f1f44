"""Guards that answer from a table, so that every number of a report is known beforehand."""

from collections.abc import Callable, Iterable

import pytest

from heed.guard import Calibration, Calibrations, Verdict
from heed.guard.data import LabelledPair
from heed.text.evidence import WeightedSpan
from heed.text.span import CharSpan


@pytest.fixture(autouse=True)
def _few_repeats(monkeypatch):
    """Intervals from fewer draws: what they hold is tested, not how smooth they are."""
    monkeypatch.setattr("heed.evaluation.comparison._REPEATS", 200)
    monkeypatch.setattr("heed.evaluation.measures._REPEATS", 100)


class Table:
    """Judges by the number at the end of a text: ``… 0.7`` is a risk of 0.7; ``… none`` is abstained from."""

    def __init__(self, *, threshold: float = 0.5, slope: float | None = 8.0, model: str = "table", shift: float = 0.0):
        line = (slope, None if slope is None else -slope * threshold)
        self.calibrations = Calibrations(*[Calibration(threshold, slope=line[0], intercept=line[1])] * 2)
        self.model, self.shift, self.preset = model, shift, "balanced"
        self.asked: list[tuple[str | None, str]] = []

    def check_many(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        asked = list(pairs)
        self.asked += asked
        return [self.check(*pair) for pair in asked]

    def check(self, instruction: str | None, data: str) -> Verdict:
        said = data.rsplit(maxsplit=1)[-1]
        if said == "none":
            return Verdict("too_long", "expected less, found more", data=data, model=self.model)
        known = self.calibrations.of(given=instruction is not None)
        score = min(1.0, max(0.0, float(said) + self.shift))
        span = WeightedSpan(CharSpan(0, len(data.split(maxsplit=1)[0])), 0.5)
        return Verdict(
            "ok",
            "",
            flagged=score >= known.threshold,
            score=score,
            threshold=known.threshold,
            probability=known.probability(score),
            spans=(span,),
            seconds=0.1,
            data=data,
            tokens=3,
            model=self.model,
        )


@pytest.fixture
def table() -> type[Table]:
    return Table


@pytest.fixture
def pair() -> Callable[..., LabelledPair]:
    count = iter(range(10**6))

    def make(score: object, label: int, *, group: str = "one", words: str = "some words", **fields: object):
        name = f"r{next(count)}"
        return LabelledPair(name, "Do.", f"{words} {name} {score}", label, group, **fields)

    return make


@pytest.fixture
def rows(pair) -> list[LabelledPair]:
    """Two sets of 20 rows; attacks score above benign rows, but for two of them."""
    return [
        pair(score, label, group=group)
        for group in ("one", "two")
        for place in range(10)
        for label, score in ((0, 0.05 * place), (1, 0.3 if place == 0 else 0.55 + 0.04 * place))
    ]
