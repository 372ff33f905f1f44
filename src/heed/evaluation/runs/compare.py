"""Two runs of one task, example by example: who was right where, and whether the difference is more than chance."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heed.errors import InputError
from heed.evaluation.runs.samples import Run
from heed.jobs.lines import Record
from heed.measure import Interval, bootstrap_interval


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Paired counts over the examples that both runs have; ``difference`` is accuracy of the first less the second."""

    first: str
    second: str
    examples: int
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: Interval
    """Paired bootstrap, 95 %."""
    p: float
    """McNemar's exact test, two-sided: chance of so uneven a split of the examples that only one got right."""
    differing: tuple[dict[str, Any], ...]
    """The examples that only one got right."""
    left_out: int
    """Examples that only one run has."""

    @property
    def verdict(self) -> str:
        """In one sentence."""
        if self.interval.low <= 0 <= self.interval.high:
            return "No difference is shown: the interval includes 0."
        return f"{self.first if self.difference > 0 else self.second} is more accurate on these examples."

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "verdict": self.verdict}

    def table(self) -> list[tuple[str, ...]]:
        """As rows of text, a header first."""
        interval = f"{self.interval.low:+.1%} to {self.interval.high:+.1%}"
        return [
            ("", "examples"),
            ("both right", str(self.both)),
            (f"only {self.first}", str(self.only_first)),
            (f"only {self.second}", str(self.only_second)),
            ("neither", str(self.neither)),
            ("difference in accuracy", f"{self.difference:+.1%} ({interval}), p = {self.p:.3g}"),
        ]


def compare_runs(first: Run, second: Run) -> RunComparison:
    """Compare two runs of the same task on the examples that both have.

    Raises
    ------
    InputError
        If they are of different tasks, share no example, or an example differs between them.
    """
    if first.task != second.task:
        raise InputError(f"expected two runs of one task, found {first.task} and {second.task}")
    others = {sample["index"]: sample for sample in second.samples}
    pairs = [(sample, others[sample["index"]]) for sample in first.samples if sample["index"] in others]
    if not pairs:
        raise InputError(f"expected runs that share examples of {first.task}, found none in both")
    for mine, theirs in pairs:
        if any(mine[name] != theirs[name] for name in ("context", "question", "target")):
            raise InputError(
                f"expected the same example {mine['index']} in both runs, found another: the task was changed between"
            )
    names = _names(first, second)
    right = np.array([[_right(mine), _right(theirs)] for mine, theirs in pairs], dtype=float)
    gap = right[:, 0] - right[:, 1]
    only = int((gap > 0).sum()), int((gap < 0).sum())
    return RunComparison(
        *names,
        examples=len(pairs),
        both=int(right.all(1).sum()),
        only_first=only[0],
        only_second=only[1],
        neither=int((right.sum(1) == 0).sum()),
        difference=float(gap.mean()),
        interval=bootstrap_interval(lambda values: float(values.mean()), gap),
        p=_mcnemar(*only),
        differing=tuple(_differing(*pair) for pair in pairs if _right(pair[0]) != _right(pair[1])),
        left_out=len({*others} ^ {sample["index"] for sample in first.samples}),
    )


def _names(first: Run, second: Run) -> tuple[str, str]:
    names = str(first.config["answers"]["model"]), str(second.config["answers"]["model"])
    return names if names[0] != names[1] else (str(first.folder), str(second.folder))


def _right(sample: Record) -> bool:
    return bool(sample["status"] == "ok" and sample["grade"] == "correct")


def _differing(mine: Record, theirs: Record) -> dict[str, Any]:
    return {
        "index": mine["index"],
        "id": mine["id"],
        "target": mine["target"],
        "first": mine["found"],
        "second": theirs["found"],
        "right": "first" if _right(mine) else "second",
    }


def _mcnemar(first: int, second: int) -> float:
    """McNemar, Psychometrika 12 (1947), by the binomial distribution."""
    count = first + second
    tail = sum(math.comb(count, k) for k in range(min(first, second) + 1))
    return float(min(1.0, 2 * tail / 2**count))
