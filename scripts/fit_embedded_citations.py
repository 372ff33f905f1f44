"""Fit the profile of citations that ships for the embedded model, and put it where it is shipped from.

Needs development data: ``HEED_DEV_DATA`` names a folder whose ``cite`` holds public sets. A quarter of an hour on two
cores; ``--keep FILE`` keeps what was read, so that a second run only does the arithmetic.
"""

import argparse
import sys
from pathlib import Path

import heed
from heed.citation.data import LabelledQuestion, data_hash, load_questions
from heed.citation.fit import learn
from heed.evaluation.cited_left_out import hear_sets
from heed.settings import settings

MOST = {
    "entailment_bank": 187,
    "medcalc": 200,
    "ircot_hotpotqa": 29,
    "ircot_2wikimultihopqa": 20,
    "babi_qa1": 40,
    "babi_qa2": 60,
    "babi_qa16": 40,
    "hotpotqa": 50,
    "wice": 70,
}
"""Rows that are read of each set; the long ones of WiCE take the most time."""
FAMILIES = {"babi": "babi", "hotpotqa": "multihop", "ircot": "multihop"}
"""Sets of one family by how their names begin: the same tasks, or questions of the same source."""
SHIPPED = Path(__file__).parents[1] / "src" / "heed" / "profile" / "shipped" / "cite-smollm2-135m-instruct.json"


def main() -> int:
    """Read, fit, show what was found, write the file."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keep", type=Path, help="where to keep what was read, or to find it")
    data = settings().dev_data
    if data is None:
        print("expected HEED_DEV_DATA to name a folder with cite/, found nothing", file=sys.stderr)
        return 2
    model, rows = heed.load(), rows_of(data)
    profile = learn(
        model,
        hear_sets(model, rows, keep=options.parse_args().keep, progress=told).reads,
        source="scripts/fit_embedded_citations.py",
        data=data_hash(rows),
    )
    profile.save(SHIPPED)
    print(profile.method)
    for kind, quality in profile.quality.items():
        print(kind, quality)
    return 0


def told(done: int, of: int) -> None:
    """Say how far the reading is."""
    print(f"\r{done:,} of {of:,} questions", end="", file=sys.stderr)


def family(name: str) -> str:
    """What a data set's name belongs to; weights that saw one of a family are not judged on another."""
    return next((own for start, own in FAMILIES.items() if name.startswith(start)), name)


def rows_of(data: Path) -> list[LabelledQuestion]:
    """The questions that can teach: with gold facts, and with others."""
    rows = [row for name, most in MOST.items() for row in load_questions([data / "cite" / f"{name}.jsonl"], limit=most)]
    return [row for row in rows if 0 < len(row.gold) < len(row.question.units)]


if __name__ == "__main__":
    sys.exit(main())
