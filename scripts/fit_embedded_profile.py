"""Fit the guard profiles that ship for the embedded model, and put them where they are shipped from.

Needs development data: ``HEED_DEV_DATA`` names a folder whose ``guard`` and ``cite`` hold public sets. About half an
hour on two cores; ``--keep FILE`` keeps what was read, so that a second run only does the arithmetic.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from compose import compose

import heed
from heed.guard.calibration import Calibrations
from heed.guard.data import load_pairs
from heed.guard.fit_linear import THRESHOLD, read_windows, weigh
from heed.guard.learn import Windows
from heed.model import Model
from heed.profile import LearnedProfile
from heed.settings import settings

DEPTH, LONGEST = 18, 2048
"""Layers that are run: fewer are worse, more no better (LOG.md). Longer prompts are left out."""
RECIPES: dict[str, tuple[bool, dict[str, float]]] = {
    "fast": (False, {"given": 0.1, "neutral": 0.04}),
    "full": (True, {"given": 0.075, "neutral": 0.03}),
}
"""Whether the data's own tokens are listened to, beside the query rows; and which share of benign rows may be flagged
by weights that did not see their family: of all rows, the hard ones written for heed among them, so that it is about
2 % of the public ones (LOG.md)."""
ROWS = (-27, -24, -6, -2, -1)
"""Query rows: the last or last but one token of the data, where the question begins and ends, and the last two. With
-26, where a blank line may be a token of its own, less is caught (LOG.md)."""
SOURCE = Path(__file__).parents[1] / "src" / "heed"


def main() -> int:
    """Read, fit, show the tables, write the files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keep", type=Path, help="where to keep the read windows, or to find them")
    data = settings().dev_data
    if data is None:
        print("expected HEED_DEV_DATA to name a folder with guard/ and cite/, found nothing", file=sys.stderr)
        return 2
    model = heed.load()
    windows = _windows(model, data, options.parse_args().keep)
    for name, (pooled, fpr) in RECIPES.items():
        profile, calibrations = weigh(model, windows, [DEPTH], fpr=fpr, pooled=pooled)
        _ship(replace(profile, name=name, source="scripts/fit_embedded_profile.py"), calibrations)
    return 0


def _windows(model: Model, data: Path, keep: Path | None) -> Windows:
    with tempfile.TemporaryDirectory() as folder:
        pairs = load_pairs(compose(Path(folder), data))
    if keep is None or not keep.exists():
        found = read_windows(model, pairs, depth=DEPTH, longest=LONGEST, rows=ROWS, progress=_tell)
        if keep is not None:
            places = {id(pair): place for place, pair in enumerate(pairs)}
            kept = [places[id(pair)] for pair in found.pairs]
            np.savez(keep, kept=kept, texts=found.texts, labels=found.labels, rows=found.rows, features=found.features)
        return found
    stored = np.load(keep)
    rows = tuple(int(row) for row in stored["rows"])
    kept = [pairs[index] for index in stored["kept"]]
    return Windows(kept, stored["texts"], stored["labels"], rows, stored["features"].astype(np.float32))


def _tell(done: int, total: int) -> None:
    print(f"\r{done:,} of {total:,} tokens", end="", file=sys.stderr)


def _ship(profile: LearnedProfile, calibrations: Calibrations) -> None:
    profile.save(SOURCE / "profile" / "shipped" / f"guard-smollm2-135m-instruct-{profile.name}.json")
    calibrations.save(SOURCE / "guard" / "calibrations" / f"{profile.digest}.json")
    print(f"{profile.name}: depth {profile.depth}, threshold {THRESHOLD}, {profile.quality['depths']}")
    for name, one in profile.quality["sets"].items():
        print(" ", name, one)


if __name__ == "__main__":
    sys.exit(main())
