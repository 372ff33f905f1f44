"""Write ``benchmarks/CITE_LEFT_OUT.md``: the shipped way of citing beside BM25, by weights that did not see a row.

Takes ``--keep FILE`` of `fit_embedded_citations`, or reads the development sets anew.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from fit_embedded_citations import family, rows_of, told
from jaxtyping import Float

import heed
from heed.citation.data import LabelledQuestion
from heed.citation.fit import AT, FOLDS, Read, left_out_scores
from heed.citation.fusion import fuse
from heed.citation.learned import find_ranking
from heed.citation.methods import method
from heed.citation.scores import Scores, ranked
from heed.evaluation.cited import BASELINE, FLOOR
from heed.evaluation.cited_left_out import hear_sets
from heed.measure import bootstrap_interval, recall_at
from heed.settings import settings

PAGE = Path(__file__).parents[1] / "benchmarks" / "CITE_LEFT_OUT.md"
ORACLE, LEARNED, FUSED = "oracle", "learned", "fused"
COLUMNS = ("random", "lead", "recency", ORACLE, LEARNED, BASELINE, FUSED)
REAL = "medcalc"
"""The set whose responses a language model wrote; those of the others are people's."""
HEAD = """# Citing, beside BM25, on rows that were left out

Written by `scripts/compare_embedded_citations.py`, embedded model {fingerprint}, bf16. recall@{at} of the
learned reading (depth and penalty as shipped, chosen on all sets) by weights that saw neither the row nor its fifth of
all rows (`row`), nothing of its data set (`set`), or nothing of any set of its family (`family`: bAbI's tasks; HotpotQA
and the multi-hop questions of IRCoT; a set without relatives has the line `set` only); of BM25 on the same words; of
both fused by reciprocal rank; and of the floor. `oracle` is what the best ranking reaches: some questions have more
gold facts than {at}. Differences to BM25 with paired 95 % bootstrap intervals.
"""

Hits = dict[str, Float[np.ndarray, " N"]]
"""Recall of the N rows of one data set, by method."""


def main() -> int:
    """Read or find, judge, write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keep", type=Path, help="what `fit_embedded_citations` kept")
    data = settings().dev_data
    if data is None:
        print("expected HEED_DEV_DATA to name a folder with cite/, found nothing", file=sys.stderr)
        return 2
    model, rows = heed.load(), rows_of(data)
    heard = hear_sets(model, rows, keep=options.parse_args().keep, progress=told).reads
    depths = {kind: find_ranking(model).depth(kind) for kind in heard}
    found = {kind: recalls(kind, reads, rows, depths[kind]) for kind, reads in heard.items()}
    PAGE.write_text(HEAD.format(fingerprint=model.fingerprint, at=AT) + "\n" + page(found), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))
    return 0


def recalls(
    kind: str, reads: Sequence[Read], rows: Sequence[LabelledQuestion], depth: int
) -> dict[tuple[str, str], Hits]:
    """Recall of every method, by what was left out and by data set."""
    known = {(row.group, row.id): row.question for row in rows}
    asked = [known[one.group, one.id] for one in reads]
    fixed = {name: [one(question) for question in asked] for name in FLOOR if (one := method(name, None, rows=kind))}
    folds = {
        "row": [str(place % FOLDS) for place in range(len(reads))],
        "set": [one.group for one in reads],
        "family": [family(one.group) for one in reads],
    }
    groups = {one.group for one in reads}
    related = {name for name in groups if any(family(name) == family(other) for other in groups - {name})}
    found: dict[tuple[str, str], Hits] = {}
    for way, own in folds.items():
        learned = [Scores(values) for values in left_out_scores(reads, own, depth)]
        both = [fuse(pair) for pair in zip(learned, fixed[BASELINE], strict=True)]
        table = _by_set(reads, {**fixed, LEARNED: learned, FUSED: both})
        found |= {(way, name): hits for name, hits in table.items() if way != "family" or name in related}
    return found


def _by_set(reads: Sequence[Read], scores: Mapping[str, Sequence[Scores]]) -> dict[str, Hits]:
    hits: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for place, one in enumerate(reads):
        for name, own in scores.items():
            hits[one.group][name].append(recall_at(ranked(own[place].values), one.gold, AT))
        hits[one.group][ORACLE].append(min(AT, len(one.gold)) / len(one.gold))
    return {group: {name: np.array(own) for name, own in each.items()} for group, each in hits.items()}


def page(found: Mapping[str, Mapping[tuple[str, str], Hits]]) -> str:
    """The tables: all sets, and the real responses beside their floor."""
    head = ("told", "left out", "set", "rows", *COLUMNS, f"{LEARNED} - {BASELINE}", f"{FUSED} - {BASELINE}")
    lines = [_line(head), "|---" * len(head) + "|"]
    for kind, table in found.items():
        for (way, name), hits in table.items():
            means = [f"{hits[column].mean():.3f}" for column in COLUMNS]
            gains = [_difference(hits[own] - hits[BASELINE]) for own in (LEARNED, FUSED)]
            lines.append(_line((kind, way, name, str(len(hits[BASELINE])), *means, *gains)))
    return "\n".join([*lines, "", *_real(found["response"])]) + "\n"


def _real(table: Mapping[tuple[str, str], Hits]) -> Iterator[str]:
    """Differences to the floor where the response is what a language model said."""
    ways = {way: hits for (way, name), hits in table.items() if name == REAL}
    if not ways:
        return
    yield "MedCalc, responses as a language model gave them, differences to each row of the floor:\n"
    head = ("left out", "method", "rows", *(f"- {name}" for name in FLOOR))
    yield _line(head)
    yield "|---" * len(head) + "|"
    for way, hits in ways.items():
        for own in (LEARNED, FUSED):
            yield _line((way, own, str(len(hits[own])), *(_difference(hits[own] - hits[name]) for name in FLOOR)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _difference(values: np.ndarray) -> str:
    interval = bootstrap_interval(lambda rows: float(rows.mean()), values, seed=0)
    return f"{values.mean():+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


if __name__ == "__main__":
    sys.exit(main())
