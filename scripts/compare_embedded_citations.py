"""Write ``benchmarks/CITE_LEFT_OUT.md``: the shipped way of citing beside BM25, by weights that did not see a row.

Takes ``--keep FILE`` of `fit_embedded_citations`, or reads the development sets anew.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from fit_embedded_citations import rows_of, told

import heed
from heed.citation.data import LabelledQuestion
from heed.citation.fit import AT, FOLDS, Read, left_out_scores
from heed.citation.fusion import fuse
from heed.citation.learned import find_ranking
from heed.citation.lexical import bm25_method
from heed.citation.scores import Scores, ranked
from heed.evaluation.cited_left_out import hear_sets
from heed.measure import bootstrap_interval, recall_at
from heed.settings import settings

PAGE = Path(__file__).parents[1] / "benchmarks" / "CITE_LEFT_OUT.md"
HEAD = """# Citing, beside BM25, on rows that were left out

Written by `scripts/compare_embedded_citations.py`, embedded model {fingerprint}, bf16. recall@{at} of the
learned reading (depth and penalty as shipped) by weights that saw neither the row nor its fifth of all rows, or nothing
of its data set; of BM25 on the same words; and of both fused. Differences to BM25 with paired 95 % bootstrap intervals.

| told | left out | set | rows | learned | BM25 | fused | learned - BM25 | fused - BM25 |
|---|---|---|---|---|---|---|---|---|
"""


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
    lines = [line for kind, reads in heard.items() for line in _lines(kind, reads, rows, depths[kind])]
    PAGE.write_text(HEAD.format(fingerprint=model.fingerprint, at=AT) + "\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))
    return 0


def _lines(kind: str, reads: Sequence[Read], rows: Sequence[LabelledQuestion], depth: int) -> Iterator[str]:
    known, bm25 = {(row.group, row.id): row.question for row in rows}, bm25_method(rows=kind)  # type: ignore[arg-type]
    words = [bm25(known[one.group, one.id]) for one in reads]
    ways = {"row": [str(place % FOLDS) for place in range(len(reads))], "set": [one.group for one in reads]}
    for way, folds in ways.items():
        found = defaultdict(list)
        for one, values, word in zip(reads, left_out_scores(reads, folds, depth), words, strict=True):
            learned = Scores(values)
            each = (learned, word, fuse([learned, word]))
            found[one.group].append([recall_at(ranked(scores.values), one.gold, AT) for scores in each])
        for group, hits in found.items():
            table = np.array(hits)
            means = " | ".join(f"{value:.3f}" for value in table.mean(0))
            gains = " | ".join(_difference(table[:, place] - table[:, 1]) for place in (0, 2))
            yield f"| {kind} | {way} | {group} | {len(table)} | {means} | {gains} |"


def _difference(values: np.ndarray) -> str:
    interval = bootstrap_interval(lambda rows: float(rows.mean()), values, seed=0)
    return f"{values.mean():+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


if __name__ == "__main__":
    sys.exit(main())
