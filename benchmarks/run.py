"""Run all benchmarks, each in a process of its own, and write RESULTS.md and results.json beside this file.

`python benchmarks/run.py [NAME ...] [--out FOLDER]`. A quick run (HEED_BENCH_QUICK=1) writes only where --out says:
its figures mean nothing. Exits with 1 if a bar is not met or a benchmark broke.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import QUICK, Claim
from machine import environment

HERE = Path(__file__).parent
NAMES = (
    "last_row_probe_costs_nothing",
    "guard_beats_published_way",
    "guard_keeps_no_maps",
    "one_check_vs_plain_forward",
    "check_many_batches",
    "trace_8k",
    "load_second_time",
    "bf16_changes_few_decisions",
    "guard_quality",
    "guard_speed",
    "guard_limits",
    "cite_quality",
    "cite_speed",
    "run_overhead",
    "figures_leave_nothing",
    "show_32k",
    "mechanisms/speed",
    "mechanisms/comparisons",
    "mechanisms/memory",
    "mechanisms/result_cache",
)
_LIMIT_S = 1200


def run_one(name: str) -> dict[str, Any]:
    """Run one benchmark: its record, or what broke."""
    command = [sys.executable, str(HERE / f"{name}.py")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
        return record_of(name, done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        return broken(name, f"took more than {_LIMIT_S} s")


def record_of(name: str, stdout: str, stderr: str = "") -> dict[str, Any]:
    """The JSON line a benchmark ends with."""
    lines = stdout.strip().splitlines()
    try:
        record = json.loads(lines[-1] if lines else "")
    except ValueError:
        return broken(name, (stderr.strip().splitlines() or ["no output"])[-1])
    return record if isinstance(record, dict) and "claims" in record else broken(name, "no JSON line at the end")


def broken(name: str, reason: str) -> dict[str, Any]:
    """A record of a benchmark that did not come to its end."""
    return {"benchmark": name, "broken": reason, "claims": []}


def kept(path: Path, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The new records, and those of an earlier run of the benchmarks that were not run now, each with its commit."""
    earlier = json.loads(path.read_text(encoding="utf-8"))["benchmarks"] if path.exists() else []
    known = {record["benchmark"]: record for record in [*earlier, *records]}
    return [known[name] for name in NAMES if name in known]


def markdown(records: Sequence[dict[str, Any]], where: dict[str, str]) -> str:
    """The page: machine, table of claims, details."""
    lines = [
        "# Benchmark results",
        "",
        "Written by `benchmarks/run.py`; ratios are of ways measured side by side.",
    ]
    if QUICK:
        lines += ["", "**A quick run: the figures mean nothing.**"]
    lines += ["", *(f"- {name}: {value}" for name, value in where.items()), "", "## Claims", ""]
    lines += ["| benchmark | claim | figure | bar | met? |", "|---|---|---|---|---|"]
    for record in records:
        lines += [_row(record["benchmark"], claim) for claim in _claims(record)]
        if "broken" in record:
            lines.append(f"| {record['benchmark']} | | | | broken: {record['broken']} |")
    lines += ["", "## Details"]
    for record in records:
        lines += ["", f"### {record['benchmark']} ({record.get('seconds', '?')} s, commit {record.get('commit', '?')})"]
        for claim in _claims(record):
            lines += ["", f"**{claim.name}**", "", *_details(claim)]
    return "\n".join(lines) + "\n"


def _claims(record: dict[str, Any]) -> list[Claim]:
    return [Claim(**claim) for claim in record["claims"]]


def _row(name: str, claim: Claim) -> str:
    figure = "" if claim.figure is None else f"{claim.figure:.4g} {claim.unit}"
    bar = "" if claim.bar is None else f"{claim.side} {claim.bar:g}"
    verdict = f"skipped: {claim.details.get('skipped')}" if claim.figure is None else claim.verdict
    return f"| {name} | {claim.name} | {figure} | {bar} | {verdict} |"


def _details(claim: Claim) -> list[str]:
    """One-line details as a list, tables and JSON below."""
    short = [f"- {key}: {value}" for key, value in claim.details.items() if "\n" not in str(value)]
    long = []
    for key, value in claim.details.items():
        if "\n" in str(value):
            fence = [] if str(value).startswith("|") else ["```"]
            long += ["", f"{key}:", "", *fence, str(value), *fence]
    return short + long


def main() -> None:
    """Run, write, and say what was not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--out", type=Path, default=None if QUICK else HERE, help="folder for the results")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"expected names of benchmarks ({', '.join(NAMES)}), found {', '.join(unknown)}")
    where, records = environment(), []
    for name in options.names or NAMES:
        record = run_one(name)
        for claim in _claims(record):
            print(claim.line, flush=True)
        if "broken" in record:
            print(f"{name}: broken, {record['broken']}", flush=True)
        records.append(record | {"commit": where["commit"]})
    if options.out is not None:
        records = kept(options.out / "results.json", records)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "RESULTS.md").write_text(markdown(records, where), encoding="utf-8")
        value = {"quick": QUICK, "environment": where, "benchmarks": records}
        (options.out / "results.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    missed = any("broken" in record or any(claim.met is False for claim in _claims(record)) for record in records)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
