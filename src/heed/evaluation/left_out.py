"""Leave-one-set-out: every data set is judged by a guard that was fitted without it and its family."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from heed.errors import InputError
from heed.evaluation.judged import Judge, Judged, Progress, judge
from heed.guard.data import LabelledPair
from heed.guard.verdict import Verdict

if TYPE_CHECKING:
    from heed.model import Model

Refit = Callable[["Model", Sequence[LabelledPair]], Judge]
"""Fits a guard for a model on labelled pairs."""


def folds(pairs: Sequence[LabelledPair]) -> dict[str, list[LabelledPair]]:
    """For each data set, the rows a guard that judges it may be fitted on: of other sets and of other families.

    Raises
    ------
    InputError
        If these do not suffice to fit weights: among rows with an instruction, both classes and two families.
    """
    names = dict.fromkeys(pair.group for pair in pairs)
    return {name: _others(pairs, name) for name in names}


def _others(pairs: Sequence[LabelledPair], name: str) -> list[LabelledPair]:
    own = {_family(pair) for pair in pairs if pair.group == name}
    others = [pair for pair in pairs if pair.group != name and _family(pair) not in own]
    usable = [pair for pair in others if pair.instruction is not None]
    families, labels = {_family(pair) for pair in usable}, {pair.label for pair in usable}
    if len(families) < 2 or labels != {0, 1}:
        held = {frozenset({0}): "benign only", frozenset({1}): "attacks only"}.get(frozenset(labels), "")
        raise InputError(
            f"expected, without {name!r}, benign rows and attacks with an instruction in at least two data sets (or "
            f"families), found {len(families)}{f', {held}' if held else ''}: add data sets; three are the fewest"
        )
    return others


def _family(pair: LabelledPair) -> str:
    return pair.family or pair.group


def leave_one_out(
    model: "Model", pairs: Sequence[LabelledPair], refit: Refit, *, progress: Progress | None = None
) -> Judged:
    """Judge each data set by a guard fitted on the others, but for rows of its family.

    Rows that sets share otherwise weaken this; `heed.evaluation.report` counts them.

    Parameters
    ----------
    pairs
        Rows of three or more data sets (`heed.guard.data.load_pairs`).
    refit
        Called once for each data set, with the rows of the others.
    progress
        Called with rows judged and rows to judge.

    Raises
    ------
    InputError
        As `folds`, before anything is fitted; or if the others do not suffice to fit a guard.
    """
    ordered: list[LabelledPair] = []
    verdicts: list[Verdict] = []
    for name, others in folds(pairs).items():
        guard = refit(model, others)
        own = [pair for pair in pairs if pair.group == name]
        verdicts += judge(guard, own, progress=_counted(progress, len(verdicts), len(pairs))).verdicts
        ordered += own
    return Judged(tuple(ordered), tuple(verdicts))


def _counted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)
