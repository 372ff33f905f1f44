"""Learned weights and chosen heads for judging a data set that they did not see.

Questions are read once; what is learned of them is learned again for each set that is left out.
"""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heed.citation.data import LabelledQuestion, data_hash
from heed.citation.fit import Read, learn, read_row
from heed.errors import InputError
from heed.evaluation.judged import Progress
from heed.profile import RankingProfile

if TYPE_CHECKING:
    from heed.model import Model

KINDS = ("question", "response")
_SAVED_EVERY = 50
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


def hear_sets(
    model: "Model",
    rows: Sequence[LabelledQuestion],
    *,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> HeardSets:
    """Read every question that has gold facts and others, and every answer; what does not fit the window is left out.

    Parameters
    ----------
    keep
        A file (.npz) for what was read: what it holds already, by data set and id, is not read again.
    progress
        Called with questions read and to read.

    Raises
    ------
    InputError
        If the file is there and was not written by this function for this model.
    """
    usable = [row for row in rows if 0 < len(row.gold) < len(row.question.units)]
    known = {} if keep is None or not keep.exists() else _kept(keep, model)
    reads: dict[str, list[Read]] = {kind: [] for kind in KINDS}
    for done, row in enumerate(usable, 1):
        for kind in KINDS if row.question.response is not None else KINDS[:1]:
            place = (kind, row.group, row.id)
            found = known[place] if place in known else read_row(model, row, kind=kind)
            if found is not None:
                reads[kind].append(found)
        if keep is not None and (done % _SAVED_EVERY == 0 or done == len(usable)):
            _keep(keep, model, reads)
        if progress is not None:
            progress(done, len(usable))
    return HeardSets(model, tuple(rows), reads)


def _keep(path: Path, model: "Model", reads: dict[str, list[Read]]) -> None:
    """Whole or not at all: contrasts side by side, and which rows of them belong to which question."""
    lines = [(kind, one.group, one.id, sorted(one.gold)) for kind, own in reads.items() for one in own]
    arrays: dict[str, Any] = {
        f"{kind}_{place}": one.contrasts for kind, own in reads.items() for place, one in enumerate(own)
    }
    partial = path.with_name(f".{path.name}.partial.npz")
    np.savez(partial, model=model.fingerprint, lines=json.dumps(lines), **arrays)
    partial.replace(path)


def _kept(path: Path, model: "Model") -> dict[tuple[str, str, str], Read]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["model"]) != model.fingerprint:
                raise InputError(
                    f"expected what was read by {model.name} ({model.fingerprint}) in {path}, found "
                    f"{stored['model']}: name another file"
                )
            found, counts = {}, dict.fromkeys(KINDS, 0)
            for kind, group, name, gold in json.loads(str(stored["lines"])):
                contrasts = stored[f"{kind}_{counts[kind]}"]
                counts[kind] += 1
                found[kind, group, name] = Read(contrasts, frozenset(gold), group, name)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"expected what `hear_sets` kept in {path}, found: {error}; name another file") from error
    return found


def _others(reads: Sequence[Read], name: str, family: Family) -> list[Read]:
    return [one for one in reads if family(one.group) != family(name)]
