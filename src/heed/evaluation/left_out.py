"""Leave-one-set-out: every data set is judged by a guard that was fitted without it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heed.errors import InputError
from heed.evaluation.judged import Judge, Judged, Progress, judge
from heed.guard.data import load_pairs, set_names
from heed.guard.verdict import Verdict

if TYPE_CHECKING:
    from heed.model import Model

Refit = Callable[["Model", Sequence[Path]], Judge]
"""Fits a guard for a model on data sets."""


def leave_one_out(
    model: "Model", files: Sequence[Path], refit: Refit, *, limit: int | None = None, progress: Progress | None = None
) -> Judged:
    """Judge each file by a guard fitted on the others.

    Rows that several files share weaken this; `heed.evaluation.report` counts them.

    Parameters
    ----------
    files
        Two or more data sets.
    refit
        Called once for each file, with the others.
    limit
        Most rows judged of each file.
    progress
        Called with rows judged and rows to judge.

    Raises
    ------
    InputError
        If there are fewer than two files, or the others do not suffice to fit a guard.
    RecordError
        If a row does not follow the format.
    """
    names = set_names(files)
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise InputError(f"expected two or more different data sets to leave one out, found {len(set(names))}: add one")
    pairs = load_pairs(files, limit=limit)
    verdicts: list[Verdict] = []
    for name in names:
        guard = refit(model, [file for file, other in zip(files, names, strict=True) if other != name])
        own = [pair for pair in pairs if pair.group == name]
        verdicts += judge(guard, own, progress=_counted(progress, len(verdicts), len(pairs))).verdicts
    return Judged(tuple(pairs), tuple(verdicts))


def _counted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)
