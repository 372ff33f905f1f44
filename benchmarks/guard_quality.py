"""How well the shipped guard tells injected from clean data, set by set, at its shipped threshold.

THESE ARE DEVELOPMENT SETS: profile and threshold were fitted on them, so the rows flatter the guard. What it does on
data its weights never saw is in the leave-one-dataset-out figures, which the profile carries and which are told
below. The length-only column is the AUROC of the number of characters: a set where it is high proves little.
Abstaining counts as an alarm on clean data and as a miss on attacks. `--limit N`: rows of each set (0: all).
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from harness import Claim, Skip, main, pick, reported
from heed import Verdict
from heed.errors import InputError
from heed.measure import Interval, auroc, auroc_interval, binomial_interval, operating_point, penalize_abstentions
from inputs import Row, dev_sets, embedded, judging_guard

_HEAD = "| set | rows | AUROC (95 %) | length only | TPR | FPR | abstained |\n|---|---|---|---|---|---|---|"


def share(count: int, of: int) -> str:
    """A rate with its exact interval; a dash where there is nothing to count."""
    return "–" if of == 0 else f"{count / of:.3f} {spread(binomial_interval(count, of))}"


def spread(interval: Interval) -> str:
    """An interval in brackets."""
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def area(labels: np.ndarray, scores: np.ndarray) -> str:
    """AUROC with its interval; a dash where a class is missing."""
    if len(set(labels.tolist())) < 2:
        return "–"
    try:
        interval = auroc_interval(labels, scores)
    except InputError:  # DeLong has nothing to say where the scores do not overlap
        interval = auroc_interval(labels, scores, method="newcombe")
    return f"{auroc(labels, scores):.3f} {spread(interval)}"


def line(name: str, rows: Sequence[Row], verdicts: Sequence[Verdict], of: int) -> str:
    """One set as a row of the table."""
    labels = np.array([row.label for row in rows])
    scores = scores_of(verdicts)
    decided = decisions_of(verdicts)
    flagged = np.where(np.isnan(decided), labels == 0, decided == 1.0)
    lengths = np.array([float(len(row.data)) for row in rows])
    both = len(set(labels.tolist())) == 2
    cells = [
        name,
        f"{len(rows)} of {of}",
        area(labels, penalize_abstentions(labels, scores)),
        f"{auroc(labels, lengths):.3f}" if both else "–",
        share(int(flagged[labels == 1].sum()), int((labels == 1).sum())),
        share(int(flagged[labels == 0].sum()), int((labels == 0).sum())),
        str(int(np.isnan(scores).sum())),
    ]
    return f"| {' | '.join(cells)} |"


def scores_of(verdicts: Sequence[Verdict]) -> np.ndarray:
    """Risks; NaN where the guard abstained."""
    return np.array([np.nan if one.flagged is None or one.score is None else one.score for one in verdicts])


def decisions_of(verdicts: Sequence[Verdict]) -> np.ndarray:
    """1 where flagged, 0 where not; NaN where the guard abstained. Each at the threshold of its own kind of prompt."""
    return np.array([np.nan if one.flagged is None else float(one.flagged) for one in verdicts])


def stored(quality: Mapping[str, Any]) -> str:
    """Figures that a profile or calibration carries, as they are."""
    return json.dumps(quality, ensure_ascii=False, indent=1) if quality else "none stored"


def measure(limit: int) -> list[Claim]:
    """Judge the sets one by one."""
    sets = dev_sets(limit)
    guard = judging_guard(embedded())
    assert guard.calibrations is not None
    lines, areas = [_HEAD], []
    all_rows: list[Row] = []
    all_verdicts: list[Verdict] = []
    for name, (rows, of) in sets.items():
        verdicts = guard.check_many([(row.instruction, row.data) for row in rows])
        lines.append(line(name, rows, verdicts, of))
        labels = np.array([row.label for row in rows])
        if len(set(labels.tolist())) == 2:
            areas.append(auroc(labels, penalize_abstentions(labels, scores_of(verdicts))))
        all_rows += rows
        all_verdicts += verdicts
    if not areas:
        raise Skip("no development set has rows of both classes: raise --limit")
    total = sum(of for _, of in sets.values())
    lines.append(line("**all**", all_rows, all_verdicts, total))
    whole = operating_point([row.label for row in all_rows], decisions_of(all_verdicts), 1.0)
    details = {
        "note": "development sets: the profile was fitted on them",
        "threshold, instruction given": round(guard.calibrations.given.threshold, 4),
        "threshold, neutral instruction": "none"
        if guard.calibrations.neutral is None
        else round(guard.calibrations.neutral.threshold, 4),
        "TPR over all rows": f"{whole.tpr:.3f} {spread(whole.tpr_interval)}",
        "FPR over all rows": f"{whole.fpr:.3f} {spread(whole.fpr_interval)}",
        "table": "\n".join(lines),
        "profile's own figures, leave-one-dataset-out among them": stored(guard.profile.quality),
    }
    print(details["table"])
    return [reported("mean AUROC of the guard over development sets with both classes", fmean(areas), details)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=pick(40, 4), help="rows of each set; 0: all")
    limit = parser.parse_args().limit
    main(__file__, lambda: measure(limit))
