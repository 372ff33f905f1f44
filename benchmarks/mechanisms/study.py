"""The training study: every metric, scale, initialisation and λ0 under one budget, screened and then repeated.

`python benchmarks/mechanisms/study.py --minutes 35`. Four phases, each with its share of the minutes: recall screened
on the whole grid with one seed, its best cell of each metric with three seeds, then the same for the byte model. Each
finished run is a line of study.jsonl; a run whose line is there is not repeated, so the command goes on where it was
stopped. `write_page.py` makes the tables of docs/mechanisms.md from the file.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import environment
from tasks import TASKS
from training import VERSION, Arm, Run, learn

RESULTS = Path(__file__).with_suffix(".jsonl")
METRICS = ("dot", "sqeuclidean", "l2", "l1", "cosine", "chebyshev", "l21", "linf2")
RATES = {"recall": (3e-3, 1e-3), "bytes": (3e-3, 1e-2)}
SEEDS = (0, 1, 2)
SHARES = {"recall screen": 0.5, "recall finals": 0.65, "bytes screen": 0.9, "bytes finals": 1.0}
"""At which share of the minutes each phase ends."""

Results = dict[str, dict[str, Any]]
"""Finished runs by key, as they stand in the file."""


def screen(task: str) -> Iterator[Run]:
    """The grid with one seed, the cells of all metrics in turn, so that a cut grid is cut for all alike.

    The byte model takes one λ0, and no smooth Chebyshev distance: it has no kernel, and 128 tokens are long for it.
    """
    lams = (1.0, 4.0) if task == "recall" else (1.0,)
    factors = itertools.product(RATES[task], ("unit_variance", "sqrt_dim"), ("independent", "tied"), lams)
    for rate, scale, init, lam in factors:
        for metric in METRICS:
            yield Run(task, Arm(metric, scale, init, lam), rate)
    if task == "recall":
        for init in ("independent", "tied"):
            yield Run(task, Arm("smooth_chebyshev", init=init), RATES[task][0])


def finals(task: str, results: Results) -> Iterator[Run]:
    """The best screened cell of each metric, in full, seed by seed."""
    best = [max(runs, key=lambda one: merit(one, results)) for runs in screened(task, results).values()]
    for seed in SEEDS:
        for run in best:
            yield Run(task, run.arm, run.rate, seed, whole=True)


def screened(task: str, results: Results) -> dict[str, list[Run]]:
    """The finished runs of the grid by metric."""
    found: dict[str, list[Run]] = {}
    for run in screen(task):
        if run.key in results:
            found.setdefault(run.arm.metric, []).append(run)
    return found


def merit(run: Run, results: Results) -> tuple[bool, float, float]:
    """Larger is better: solved, sooner, better figure; what failed is last."""
    result = results[run.key]["result"]
    if "failure" in result:
        return False, -float("inf"), -float("inf")
    sign = 1.0 if run.task == "recall" else -1.0
    soon = -float(result["reached"] or run.steps + 1) if run.task == "recall" else 0.0
    return result["reached"] is not None, soon, sign * result["figure"]


def load(path: Path) -> Results:
    """Finished runs of this version by key; a line that an interruption cut off is passed over, its run repeated."""
    results: Results = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["version"] == VERSION:
            results[Run.of(record["run"]).key] = record
    return results


def perform(runs: Iterable[Run], path: Path, results: Results, until: float, where: Mapping[str, str]) -> int:
    """Run what has no result yet until the clock says ``until``; how many runs were left out."""
    left = 0
    for run in runs:
        if run.key in results:
            continue
        if time.monotonic() >= until:
            left += 1
            continue
        record = {"version": VERSION, "run": asdict(run), "data": TASKS[run.task].facts()}
        record |= {"result": learn(run), "where": dict(where)}
        results[run.key] = record
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(_line(run, record["result"]), flush=True)
    return left


def _line(run: Run, result: Mapping[str, Any]) -> str:
    """One run as it is shown while the study goes on."""
    name = f"{run.task}: {run.arm.label}, rate {run.rate:g}, seed {run.seed}"
    if "failure" in result:
        return f"{name}: failed, {result['failure']}"
    task = TASKS[run.task]
    reached = f"after {result['reached']} steps" if result["reached"] else "not reached"
    return (
        f"{name}: {task.figure} {result['figure']:.3f}, {task.threshold:.3g} {reached}, loss {result['loss']:.3f}, "
        f"entropy {result['entropy']}, {result['seconds']} s"
    )


def main() -> None:
    """Run the phases, then say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=35.0, help="time to spend in all (default 35)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of finished runs, which is continued")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, results, where = time.monotonic(), load(options.results), environment() | {"threads": "1"}
    for phase, share in SHARES.items():
        task, kind = phase.split()
        runs = screen(task) if kind == "screen" else finals(task, results)
        left = perform(runs, options.results, results, started + 60 * options.minutes * share, where)
        print(f"{phase}: {f'{left} runs left, run again to continue' if left else 'complete'}", flush=True)


if __name__ == "__main__":
    main()
