"""One pass of attention against leave-one-out: what the answer loses without the facts they name, and what they cost.

Contexts of at least 20 facts from the development sets, with their answers. Leave-one-out needs one pass for each
fact and one more; it is measured as it is usually written, one context after the other.
"""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

import heed
from harness import Claim, Skip, at_least, main, pick, reported
from heed.citation.ablation import Ablations
from heed.citation.data import LabelledQuestion, load_questions
from heed.citation.methods import method
from heed.citation.scores import ranked
from heed.errors import ProfileError
from heed.settings import settings
from inputs import embedded

DROP_BAR, TIME_BAR = 0.9, 10.0
LEAST_FACTS, MOST_CHARACTERS = 20, 6000
REMOVED, _MAIN = (1, 3, 5), 5


def questions(count: int) -> list[LabelledQuestion]:
    """Answered questions on contexts of enough facts, of all sets alike."""
    folder = settings().dev_data
    files = [] if folder is None else sorted((Path(folder) / "cite").glob("*.jsonl"))
    if not files:
        raise Skip("no development data: HEED_DEV_DATA names a folder with cite/*.jsonl")
    found: dict[str, list[LabelledQuestion]] = {}
    for row in load_questions(files):
        asked = row.question
        fits = len(asked.units) >= LEAST_FACTS and len(asked.context) <= MOST_CHARACTERS
        if asked.response is not None and fits:
            found.setdefault(row.group, []).append(row)
    share = -(-count // len(found))
    return [row for rows in found.values() for row in rows[:: max(1, len(rows) // share)][:share]]


def measure() -> list[Claim]:
    """Rank by both and at random, then take the first facts out."""
    model, rows = embedded(), questions(pick(12, 2))
    try:
        ways = {name: method(name, model) for name in ("learned", "random")}
        ways["leave_one_out"] = method("leave_one_out", model, share=False)
    except ProfileError as error:
        raise Skip(str(error)) from error
    ways["learned"](rows[0].question)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    drops: dict[str, list[list[float]]] = {name: [] for name in ways}
    for place, row in enumerate(rows):
        answer = Ablations(model, row.question)
        for name in list(ways) if place % 2 == 0 else reversed(list(ways)):
            started = perf_counter()
            scores = ways[name](row.question)
            seconds[name].append(perf_counter() - started)
            best = ranked(scores.values)
            drops[name].append([answer.drop(best[:count]) for count in REMOVED])
    return claims(model, rows, seconds, drops)


def claims(
    model: heed.Model,
    rows: Sequence[LabelledQuestion],
    seconds: dict[str, list[float]],
    drops: dict[str, list[list[float]]],
) -> list[Claim]:
    """Ratios of sums over questions: of log-probability lost, and of time."""
    lost = {name: np.array(values).mean(0) for name, values in drops.items()}
    times = {name: float(np.sum(values)) for name, values in seconds.items()}
    details = {
        "model": model.name,
        "questions": len(rows),
        "sets": ", ".join(dict.fromkeys(row.group for row in rows)),
        "facts, mean": round(float(np.mean([len(row.question.units) for row in rows])), 1),
        **{f"nats lost, {name}": [round(float(value), 2) for value in values] for name, values in lost.items()},
    }
    found = []
    for count, ratio in zip(REMOVED, (lost["learned"] / lost["leave_one_out"]).tolist(), strict=True):
        name = f"nats lost without the first {count}: learned / leave-one-out"
        found.append(at_least(name, ratio, DROP_BAR, details) if count == _MAIN else reported(name, ratio, unit="x"))
    timed = {f"{name} s": round(value / len(rows), 3) for name, value in times.items()}
    ratio = times["leave_one_out"] / times["learned"]
    return [*found, at_least("time: leave-one-out / learned", ratio, TIME_BAR, timed)]


if __name__ == "__main__":
    main(__file__, measure)
