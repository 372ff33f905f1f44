"""The share of decisions that differ between float32 and bfloat16, on development data.

At most 0.5 % may differ for bfloat16 to be the default. `--limit N`: rows of each set (0: all).
"""

import argparse

from harness import Claim, at_most, main, pick
from heed.measure import binomial_interval
from inputs import dev_sets, embedded, judging_guard

BAR = 0.005


def measure(limit: int) -> list[Claim]:
    """Judge the same rows in both formats."""
    sets = dev_sets(limit)
    pairs = [(row.instruction, row.data) for rows, _ in sets.values() for row in rows]
    guards = [judging_guard(embedded(dtype)) for dtype in ("float32", "bfloat16")]
    verdicts = list(zip(*(guard.check_many(pairs) for guard in guards), strict=True))
    changed = sum(a.flagged != b.flagged for a, b in verdicts)
    gaps = [abs(a.score - b.score) for a, b in verdicts if a.score is not None and b.score is not None]
    interval = binomial_interval(changed, len(verdicts))
    return [
        at_most(
            "share of decisions that differ between float32 and bfloat16",
            changed / len(verdicts),
            BAR,
            {
                "changed": f"{changed} of {len(verdicts)}",
                "interval": f"{interval.low:.4f} to {interval.high:.4f} (95 %, exact)",
                "largest score difference": round(max(gaps, default=0.0), 5),
                "sets": ", ".join(f"{name} {len(rows)}/{of}" for name, (rows, of) in sets.items()),
            },
            unit="",
        )
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=pick(40, 2), help="rows of each set; 0: all")
    limit = parser.parse_args().limit
    main(__file__, lambda: measure(limit))
