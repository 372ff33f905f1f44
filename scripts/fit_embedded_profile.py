"""Fit the guard profile that ships for the embedded model, and put it where it is shipped from.

Needs development data: ``HEED_DEV_DATA`` names a folder whose ``guard/*.jsonl`` hold labelled pairs. Depth is the
budget: 21 of 30 layers, so that a check costs about two thirds of a pass (LOG.md, 2026-11-22).
"""

import shutil
import sys
import tempfile
from pathlib import Path

import heed
from heed.guard.fit import fit
from heed.settings import settings

DEPTH, FPR, LIMIT, LONGEST = 21, 0.05, 240, 2048
SOURCE = Path(__file__).parents[1] / "src" / "heed"


def main() -> int:
    """Fit, show the table, copy the two files."""
    data = settings().dev_data
    files = [] if data is None else sorted((data / "guard").glob("*.jsonl"))
    if not files:
        print("expected HEED_DEV_DATA to name a folder with guard/*.jsonl, found none", file=sys.stderr)
        return 2
    model = heed.load()
    with tempfile.TemporaryDirectory() as folder:
        report = fit(model, files, out=Path(folder), fpr=FPR, depth=DEPTH, limit=LIMIT, longest=LONGEST)
        for row in report.table():
            print(" | ".join(row))
        shutil.copy(Path(folder) / "profile.json", SOURCE / "profile" / "shipped" / "guard-smollm2-135m-instruct.json")
        shutil.copy(Path(folder) / "calibration.json", SOURCE / "guard" / "calibrations" / f"{model.fingerprint}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
