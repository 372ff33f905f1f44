"""`heed guard calibrate`: benign texts, with or without attacks, come in; the threshold they call for is kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.cli.options import (
    AggregationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    QueryTokensOption,
    load_guard,
)
from heed.cli.output import print_json, print_table, tell, working

if TYPE_CHECKING:
    from heed.guard import Calibration

MethodName = Literal["fpr", "conformal", "separation", "percentile", "midpoint"]
CurveName = Literal["auto", "platt", "isotonic"]


def calibrate(
    *,
    benign: Annotated[
        Path, typer.Option("--benign", metavar="FILE", exists=True, dir_okay=False, help="Benign texts of your own.")
    ],
    attacks: Annotated[
        Path | None,
        typer.Option("--attacks", metavar="FILE", exists=True, dir_okay=False, help="Attacks, for a probability."),
    ] = None,
    fpr: Annotated[
        float, typer.Option("--fpr", min=0.0, max=1.0, help="Share of benign texts that may be flagged.")
    ] = 0.01,
    method: Annotated[MethodName, typer.Option("--method", help="How the threshold is chosen.")] = "fpr",
    curve: Annotated[CurveName, typer.Option("--curve", help="How a risk becomes a probability.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="File to write; else where `check` will find it."),
    ] = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    aggregation: AggregationOption = None,
    query_tokens: QueryTokensOption = "first",
    as_json: JsonOption = False,
) -> None:
    """Find the threshold that your own benign texts call for.

    Each line of a file is a JSON object: `data`, and `instruction` (null or missing in every line, or in none; run the
    command once for each kind). A `label`, if there is one, must be 0 in the benign file and 1 in the other.

    Methods: `fpr`, at most this share of the benign texts is flagged; `conformal`, the same for a text not seen yet;
    `percentile` of the benign risks; `separation` and `midpoint` of benign texts and attacks.

    Exit codes: 0 calibrated (read the notes), 2 bad usage or input, 3 could not run.
    """
    from heed.guard.texts import read_texts

    fine = [(asked, data) for asked, data, _ in read_texts(benign, name=benign.name, label=0)]
    bad = []
    if attacks is not None:
        bad = [(asked, data) for asked, data, _ in read_texts(attacks, name=attacks.name, label=1)]
    guard = load_guard(
        model, dtype=dtype, device=device, profile=profile, aggregation=aggregation, query_tokens=query_tokens
    )
    with working(f"judging {len(fine) + len(bad)} texts"):
        found = guard.calibrate(fine, bad or None, fpr=fpr, method=method, curve=curve)
    path = guard.save_calibration(out)
    if as_json:
        print_json({"out": str(path), **found.record()})
        return
    print_table(_table(found))
    for note in found.notes:
        tell(f"note: {note}")
    tell(f"written to {path}")


def _table(found: "Calibration") -> list[tuple[str, ...]]:
    low, high = found.fpr_interval or (0.0, 1.0)
    alarms = f"{found.alarms} of {found.benign} ({low:.2%} to {high:.2%})"
    caught = f"{found.caught} of {found.attacks}" if found.attacks else "–"
    return [
        ("threshold", "review from", "benign flagged (95 %)", "attacks caught"),
        (f"{found.threshold:.4f}", f"{found.review:.4f}", alarms, caught),
    ]
