"""Write every generated part of docs/mechanisms.md from what the benchmarks kept.

`python benchmarks/mechanisms/write_page.py`. Parts whose results are not there stay as they are: claims come from
benchmarks/results.json (`make bench`), the grid from grid.json, the study from study.jsonl.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import facts
import grid
import study
import study_page
from harness import HERE, Claim
from page import PAGE, fill, measured_on, table

CLAIMS = ("mechanisms/speed", "mechanisms/comparisons", "mechanisms/memory", "mechanisms/result_cache")
PLOT = PAGE.parent / "mechanisms-speed.svg"


def claims(record: Mapping[str, Any]) -> str | None:
    """What was measured with a bar or without, from results.json."""
    found = [one for one in record["benchmarks"] if one["benchmark"] in CLAIMS]
    rows = [_row(Claim(**claim)) for one in found for claim in one["claims"]]
    if not rows:
        return None
    commits = ", ".join(sorted({str(one.get("commit")) for one in found}))
    told = measured_on({**record["environment"], "commit": commits})
    parts = [table(["claim", "figure", "95 % interval", "bar", ""], rows), *_missing(found), told]
    return "\n\n".join(parts)


def _missing(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each benchmark that gave no claim."""
    by_name = {one["benchmark"]: one for one in found}
    for name in CLAIMS:
        if name not in by_name:
            yield f"Not measured: {name} (never run)."
        elif not by_name[name]["claims"]:
            yield f"Not measured: {name} ({by_name[name].get('broken', 'it made no claim')})."


def _row(claim: Claim) -> list[str]:
    figure = "" if claim.figure is None else f"{claim.figure:.3g} {claim.unit}"
    bar = "" if claim.bar is None else f"{claim.side} {claim.bar:g}"
    verdict = f"skipped: {claim.details.get('skipped')}" if claim.figure is None else claim.verdict
    return [claim.name, figure, str(claim.details.get("95 % interval", "")), bar, verdict]


def parts() -> Iterator[tuple[str, str]]:
    """Name and text of each part that can be written."""
    yield "temperatures", facts.temperatures()
    yield "rotations", facts.rotations()
    yield "floors", facts.floors()
    results = HERE / "results.json"
    if results.exists() and (text := claims(json.loads(results.read_text(encoding="utf-8")))):
        yield "claims", text
    if grid.RESULTS.exists():
        record = json.loads(grid.RESULTS.read_text(encoding="utf-8"))
        PLOT.write_text(grid.drawing(record["rows"]), encoding="utf-8")
        yield "grid", grid.page(record["rows"], record["environment"]) + f"\n\n![Forward time by length]({PLOT.name})"
    if finished := study.load(study.RESULTS):
        yield "study", study_page.text(finished)


def main() -> None:
    """Write them."""
    for part, text in parts():
        fill(part, text)
        print(f"{PAGE}: {part}")


if __name__ == "__main__":
    main()
