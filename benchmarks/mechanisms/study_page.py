"""The tables of the training study in docs/mechanisms.md, from the finished runs alone."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from page import table
from study import METRICS, RATES, SEEDS, finals, screen
from tasks import TASKS
from training import Run

Results = Mapping[str, Mapping[str, Any]]
_SCALES = ("unit_variance", "sqrt_dim")
_INITS = ("independent", "tied")


def text(results: Results) -> str:
    """All tables, and what they were measured with."""
    parts = [part for task in TASKS for part in _of_task(task, results)]
    return "\n\n".join([*parts, _where(results)])


def _of_task(task: str, results: Results) -> list[str]:
    runs = list(screen(task))
    done = [run for run in runs if run.key in results]
    if not done:
        return []
    facts = TASKS[task]
    solved = "steps until" if task == "recall" else f"{facts.figure}, in bold below"
    told = (
        f"**{task}, screened with one seed** ({len(done)} of {len(runs)} runs done): {solved} "
        f"{facts.figure if task == 'recall' else ''} {facts.threshold:.3g}"
    ).replace("  ", " ")
    told += ", or the accuracy after the last step where it was not reached" if task == "recall" else ""
    told += f"; learning rates {' / '.join(f'{rate:g}' for rate in RATES[task])}. · was not run."
    parts = [told, _grid(runs, results), _factors(done, results)]
    last = [run for run in finals(task, dict(results)) if run.key in results]
    if last:
        many = f"**{task}, the best cell of each metric with seeds {', '.join(map(str, SEEDS))}**, mean and (range):"
        parts += [many, _finals(last, results)]
    return parts


def _grid(runs: Sequence[Run], results: Results) -> str:
    """Metrics down, scale, initialisation and λ0 across, learning rates within a cell."""
    columns = sorted({_factors_of(run) for run in runs}, key=_order)
    rows = []
    for metric in [*METRICS, "smooth_chebyshev"]:
        mine = [run for run in runs if run.arm.metric == metric]
        if mine:
            cells = [[run for run in mine if _factors_of(run) == column] for column in columns]
            rows.append([metric, *(" / ".join(_cell(run, results) for run in some) for some in cells)])
    return table(["", *(f"{scale}, {init}, λ0 {lam:g}" for scale, init, lam in columns)], rows)


def _factors_of(run: Run) -> tuple[str, str, float]:
    return run.arm.scale, run.arm.init, run.arm.lam


def _order(factors: tuple[str, str, float]) -> tuple[int, int, float]:
    return _SCALES.index(factors[0]), _INITS.index(factors[1]), factors[2]


def _cell(run: Run, results: Results) -> str:
    """Steps to the threshold, or the figure where it was not reached."""
    if run.key not in results:
        return "·"
    result = results[run.key]["result"]
    if "failure" in result:
        return "failed"
    if run.task == "recall":
        return f"**{result['reached']}**" if result["reached"] else f"{result['figure']:.2f}"
    return f"**{result['figure']:.2f}**" if result["reached"] else f"{result['figure']:.2f}"


def _factors(runs: Sequence[Run], results: Results) -> str:
    """How many of the finished runs reached the threshold, by each level of each factor."""
    levels: list[tuple[str, Callable[[Run], bool]]] = [
        ("scale unit_variance", lambda run: run.arm.scale == "unit_variance"),
        ("scale sqrt_dim", lambda run: run.arm.scale == "sqrt_dim"),
        ("W_K independent", lambda run: run.arm.init == "independent"),
        ("W_K starts as W_Q", lambda run: run.arm.init == "tied"),
        *((f"λ0 {lam:g}", lambda run, lam=lam: run.arm.lam == lam) for lam in sorted({run.arm.lam for run in runs})),
        *((f"rate {rate:g}", lambda run, rate=rate: run.rate == rate) for rate in sorted({run.rate for run in runs})),
    ]
    row = ["threshold reached"]
    for _, belongs in levels:
        some = [results[run.key]["result"] for run in runs if belongs(run)]
        row.append(f"{sum(bool(result.get('reached')) for result in some)} of {len(some)}")
    return table(["", *(name for name, _ in levels)], [row])


def _finals(runs: Sequence[Run], results: Results) -> str:
    """One row for each metric."""
    task = TASKS[runs[0].task]
    by_arm: dict[str, list[Run]] = {}
    for run in runs:
        by_arm.setdefault(run.arm.label, []).append(run)
    head = ["arm", "rate", "seeds", task.figure, f"steps to {task.threshold:.3g}", "training loss, nats"]
    head += ["entropy by layer, nats", "λ by layer", "seconds of processor"]
    return table(head, [_final_row(label, some, results) for label, some in by_arm.items()])


def _final_row(label: str, runs: Sequence[Run], results: Results) -> list[str]:
    found = [results[run.key]["result"] for run in runs]
    fine = [result for result in found if "failure" not in result]
    row = [label, f"{runs[0].rate:g}", f"{len(fine)}" + (f", {len(found) - len(fine)} failed" if fine != found else "")]
    if not fine:
        return [*row, *[""] * 6]
    steps = ", ".join(str(result["reached"] or "–") for result in fine)
    lams = [[statistics.fmean(lam) for lam in result["lambda"]] for result in fine]
    return [
        *row,
        _range([result["figure"] for result in fine], 3),
        steps,
        _range([result["loss"] for result in fine], 2),
        _by_layer([result["entropy"] for result in fine]),
        _by_layer(lams),
        _range([result["seconds"] for result in fine], 1),
    ]


def _range(values: Sequence[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _by_layer(values: Iterable[Sequence[float]]) -> str:
    return ", ".join(f"{statistics.fmean(layer):.2f}" for layer in zip(*values, strict=True))


def _where(results: Results) -> str:
    """Machines, versions and commits of all runs."""
    keys = ("cpu", "torch", "python", "commit")
    known = sorted({tuple(record["where"][key] for key in keys) for record in results.values()})
    places = "; ".join(
        f"{cpu}, torch {torch}, Python {python}, commit {commit}" for cpu, torch, python, commit in known
    )
    seconds = sum(record["result"].get("seconds", 0) for record in results.values())
    return f"{len(results)} runs, {seconds / 60:.0f} minutes of processor time on one thread; {places}."
