"""Every metric in every pass, variant and length beside torch's attention: a table without bars, kept as JSON.

`python benchmarks/mechanisms/grid.py [--metrics l1,l2] [--lengths 128,2048] [--repeats 15] [--variants plain,causal]
[--out grid.json] [--against FORMER.json]`. Within a repeat torch's attention and all metrics run in turn; a
figure is torch's time over the metric's, the median of the pairs with its 95 % interval. ``--against`` says where an
interval lies apart from a former one. `write_page.py` makes the table and the plot of docs/mechanisms.md from the JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import METRICS, Case
from harness import QUICK, THREADS, interleaved
from machine import environment
from page import measured_on, plot, table

RESULTS = Path(__file__).with_suffix(".json")
LENGTHS = (128, 512, 2048, 8192)
VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "causal": {"causal": True}, "gqa": {"kv_heads": 2}}
_LONG = 2048
"""Causal and grouped heads are measured up to this length, and above it repeats are fewer."""

Row = dict[str, Any]


def shapes(lengths: Sequence[int], variants: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is measured, short to long."""
    for length in lengths:
        for variant in variants:
            for train in (False, True):
                if variant == "plain" or length <= _LONG:
                    yield {"length": length, "train": train, **VARIANTS[variant]}


def measure(shape: Mapping[str, Any], metrics: Sequence[str], repeats: int) -> list[Row]:
    """All metrics and torch's attention in turn, at one shape."""
    cases = {metric: Case(metric, **shape) for metric in metrics}
    first = next(iter(cases.values()))
    for case in cases.values():
        vars(case)["inputs"] = first.inputs  # one set for all
    ways = {"sdpa": first.sdpa, **{metric: case.heed for metric, case in cases.items()}}
    times = interleaved(ways, repeats=repeats, warm_ups=1 if first.length > _LONG else 2)
    plain = not (first.train or first.causal or first.kv_heads != first.heads)
    return [
        {
            "what": case.what,
            "length": case.length,
            "plain forward": plain,
            "metric": metric,
            "path": case.path,
            "sdpa ms": 1e3 * times.median("sdpa") / case.calls,
            "ms": 1e3 * times.median(metric) / case.calls,
            "ratio": times.ratio("sdpa", metric),
            "interval": list(times.interval("sdpa", metric)),
            "repeats": repeats,
        }
        for metric, case in cases.items()
    ]


def compare(rows: Iterable[Row], former: Iterable[Row]) -> list[str]:
    """A line for each figure that a former run has too: faster, slower, or not told apart."""
    known = {(row["what"], row["metric"]): row for row in former}
    lines = []
    for row in rows:
        old = known.get((row["what"], row["metric"]))
        if old is None:
            continue
        faster, slower = row["interval"][0] > old["interval"][1], row["interval"][1] < old["interval"][0]
        verdict = "faster" if faster else "slower" if slower else "not told apart"
        lines.append(f"{row['metric']}, {row['what']}: {old['ratio']:.2f} → {row['ratio']:.2f}, {verdict}")
    return lines


def page(rows: Sequence[Row], where: Mapping[str, str]) -> str:
    """One table: shapes down, metrics across, torch's milliseconds first."""
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    found = {(row["what"], row["metric"]): row for row in rows}
    lines = []
    for what in dict.fromkeys(row["what"] for row in rows):
        some = [found.get((what, metric)) for metric in metrics]
        lines.append([what, next(f"{row['sdpa ms']:.3g}" for row in some if row), *map(_cell, some)])
    head = ["torch's time over heed's", "torch, ms", *metrics]
    return f"{table(head, lines)}\n\n{measured_on(where)}"


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    low, high = row["interval"]
    return f"{row['ratio']:.2f} ({low:.2f}–{high:.2f})"


def drawing(rows: Sequence[Row]) -> str:
    """Milliseconds of the plain forward pass by length."""
    plain = [row for row in rows if row["plain forward"]]
    lines = {"torch SDPA": sorted({row["length"]: row["sdpa ms"] for row in plain}.items())}
    for row in plain:
        lines.setdefault(row["metric"], []).append((row["length"], row["ms"]))
    return plot(lines, "Forward pass, 8 heads of 64, fp32", "tokens", "milliseconds")


def main() -> None:
    """Measure what was asked for, print it, keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", default=",".join(METRICS), help="names with p behind a space")
    parser.add_argument("--lengths", default="64" if QUICK else ",".join(map(str, LENGTHS)))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--repeats", type=int, default=1 if QUICK else 15)
    parser.add_argument("--out", type=Path, default=None if QUICK else RESULTS, help="JSON file of the figures")
    parser.add_argument("--against", type=Path, help="JSON file of a former run")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    where, rows = environment(), []
    for shape in shapes([int(n) for n in options.lengths.split(",")], options.variants.split(",")):
        repeats = options.repeats if shape["length"] <= _LONG else max(1, options.repeats // 3)
        for row in measure(shape, options.metrics.split(","), repeats):
            print(f"{row['metric']}, {row['what']}: {row['ms']:.3g} ms, sdpa / heed {_cell(row)}", flush=True)
            rows.append(row)
    if options.out is not None:
        record = {"quick": QUICK, "environment": where, "rows": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.against is not None:
        former = json.loads(options.against.read_text(encoding="utf-8"))["rows"]
        print("\n".join(compare(rows, former)))


if __name__ == "__main__":
    main()
