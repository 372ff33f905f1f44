"""Learned weights and chosen heads for judging a data set that they did not see.

Questions are read once; what is learned of them is learned again for each set that is left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heed.citation.data import LabelledQuestion, data_hash
from heed.citation.fit import Read, learn, read_row
from heed.errors import InputError
from heed.evaluation.judged import Progress
from heed.profile import RankingProfile

if TYPE_CHECKING:
    from heed.model import Model

KINDS = ("question", "response")
Family = Callable[[str], str]
"""What a data set's name belongs to. Sets that share texts or tasks belong together: who saw one has seen all."""


@dataclass(frozen=True, slots=True, eq=False)
class HeardSets:
    """What every head of a model puts on the facts of labelled questions, by kind of rows."""

    model: "Model"
    rows: tuple[LabelledQuestion, ...]
    reads: dict[str, list[Read]]

    def profile_without(self, name: str, family: Family = str) -> RankingProfile:
        """Weights fitted on the sets of other families.

        Raises
        ------
        InputError
            If fewer than ten questions are left.
        """
        left = {kind: _others(reads, name, family) for kind, reads in self.reads.items()}
        if len(left["question"]) < 10:
            raise InputError(
                f"expected 10 questions or more to fit without {name}, found {len(left['question'])}: add sets"
            )
        seen = [row for row in self.rows if family(row.group) != family(name)]
        return learn(self.model, left, source=f"fitted without {name}", data=data_hash(seen))

    def heads_without(self, name: str, family: Family = str, *, count: int = 8) -> list[tuple[int, int]]:
        """The heads (layer, head) that lift gold facts most above the others, on the sets of other families.

        Detection of retrieval heads on a disjoint split, after QRHead (arXiv 2506.09944).

        Raises
        ------
        InputError
            If no question is left.
        """
        left = _others(self.reads["question"], name, family)
        if not left:
            raise InputError(f"expected questions to choose heads by without {name}, found none: add sets")
        lift = np.mean([one.contrasts[sorted(one.gold)].astype(np.float64).mean((0, 1)) for one in left], axis=0)
        best = np.argsort(-lift, axis=None, kind="stable")[:count]
        return [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(best, lift.shape), strict=True)]


def hear_sets(model: "Model", rows: Sequence[LabelledQuestion], *, progress: Progress | None = None) -> HeardSets:
    """Read every question that has gold facts and others, and every answer; what does not fit the window is left out.

    ``progress`` is called with questions read and to read.
    """
    usable = [row for row in rows if 0 < len(row.gold) < len(row.question.units)]
    reads: dict[str, list[Read]] = {kind: [] for kind in KINDS}
    for done, row in enumerate(usable, 1):
        for kind in KINDS if row.question.response is not None else KINDS[:1]:
            found = read_row(model, row, kind=kind)
            if found is not None:
                reads[kind].append(found)
        if progress is not None:
            progress(done, len(usable))
    return HeardSets(model, tuple(rows), reads)


def _others(reads: Sequence[Read], name: str, family: Family) -> list[Read]:
    return [one for one in reads if family(one.group) != family(name)]
