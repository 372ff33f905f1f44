"""`heed guard feedback`: confirmed verdicts are recorded, listed and deleted, and a threshold is retuned by them."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.options import (
    STDIN,
    AggregationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    QueryTokensOption,
    check_file,
    load_guard,
)
from heed.cli.output import print_json, print_table, tell, working
from heed.errors import InputError

if TYPE_CHECKING:
    from heed.guard import Guard
    from heed.guard.retuning import Retuned

RECORDED, INCOMPLETE = 0, 3

app = typer.Typer(help="Record what verdicts turned out to be, and retune the threshold by it.", no_args_is_help=True)


@app.command()
def add(
    *,
    source: Annotated[Path, typer.Argument(metavar="FILE.jsonl|-", help="Texts with their true label.")] = STDIN,
    store_text: Annotated[bool, typer.Option("--store-text", help="Keep the texts too, not only their hash.")] = False,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    aggregation: AggregationOption = None,
    query_tokens: QueryTokensOption = "first",
    as_json: JsonOption = False,
) -> None:
    """Record the true label of texts, with the risk and the decision the guard has for them.

    Each line is a JSON object: `data`, `label` (0 benign, 1 attack) and `instruction` (null or missing where none is
    known). Kept are numbers and a SHA-256 of the text, in a private file on this disk; never the text, unless asked.

    Exit codes: 0 recorded, 2 bad usage or input, 3 could not run, or some texts could not be judged.
    """
    from heed.guard.feedback import Feedback
    from heed.guard.texts import read_texts

    check_file(source)
    blocks = sys.stdin.buffer if source == STDIN else source
    rows = list(read_texts(blocks, name="stdin" if source == STDIN else source.name))
    guard = load_guard(
        model, dtype=dtype, device=device, profile=profile, aggregation=aggregation, query_tokens=query_tokens
    )
    store, judged = Feedback(), 0
    with working(f"judging {len(rows)} texts"):
        verdicts = guard.check_many([(asked, data) for asked, data, _ in rows])
    for number, (verdict, (*_, label)) in enumerate(zip(verdicts, rows, strict=True), 1):
        if verdict.score is None:
            tell(f"text {number} could not be judged ({verdict.status}): {verdict.reason}")
            continue
        store.add(verdict, label, made_for=guard.made_for, store_text=store_text)
        judged += 1
    if as_json:
        print_json({"path": str(store.path), "recorded": judged, "abstained": len(rows) - judged})
    else:
        print(f"recorded {judged} of {len(rows)} in {store.path}")
    raise typer.Exit(RECORDED if judged == len(rows) else INCOMPLETE)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most rows shown, the latest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show what was recorded, the latest last."""
    from heed.guard.feedback import Feedback

    store = Feedback()
    rows = store.rows()
    if as_json:
        print_json({"path": str(store.path), "count": len(rows), "rows": [row.record() for row in rows[-limit:]]})
        return
    table = [("time", "label", "flagged", "risk", "threshold", "profile", "sha256")]
    for row in rows[-limit:]:
        when = datetime.fromtimestamp(row.time, UTC).isoformat(timespec="seconds")
        label = "attack" if row.label else "benign"
        flagged = "–" if row.flagged is None else "yes" if row.flagged else "no"
        threshold = "–" if row.threshold is None else f"{row.threshold:.4f}"
        table.append((when, label, flagged, f"{row.score:.4f}", threshold, row.made_for, row.sha256[:12]))
    print_table(table)
    tell(f"{len(rows)} rows in {store.path}")


@app.command()
def retune(
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Put the new threshold in place; else it is only shown.")] = (
        False
    ),
    most_drift: Annotated[
        float, typer.Option("--most-drift", min=0.0, max=1.0, help="Farthest from the calibrated threshold.")
    ] = 0.1,
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
    """Show the threshold that the confirmed verdicts call for, within bounds; with `--apply`, put it in place.

    Exit codes: 0 shown or applied, 2 bad usage or input, 3 could not run (no calibration that knows its benign texts).
    """
    guard = load_guard(
        model, dtype=dtype, device=device, profile=profile, aggregation=aggregation, query_tokens=query_tokens
    )
    found = _retuned(guard, most_drift)
    written = None
    if apply:
        for given, one in found.items():
            if guard.calibrations is not None:
                guard.calibrations = guard.calibrations.put(one.calibration, given=given)
        written = guard.save_calibration(out)
    if as_json:
        names = {given: "given" if given else "neutral" for given in found}
        proposals = {names[given]: one.record() for given, one in found.items()}
        print_json({"applied": None if written is None else str(written), **proposals})
        return
    table = [("texts", "verdicts", "threshold", "proposed", "wrong before", "wrong after")]
    for given, one in found.items():
        kind = "with instruction" if given else "without"
        counts = str(one.wrong_before), str(one.wrong_after)
        table.append((kind, str(one.verdicts), f"{one.old:.4f}", f"{one.new:.4f}", *counts))
    print_table(table)
    for one in found.values():
        tell(one.why)
    tell("nothing is changed without --apply" if written is None else f"written to {written}")


def _retuned(guard: "Guard", most_drift: float) -> dict[bool, "Retuned"]:
    """A proposal for each kind of text that has a calibration and confirmed verdicts."""
    from heed.guard.feedback import Feedback
    from heed.guard.retuning import retune

    store, found = Feedback(), {}
    for given in (True, False):
        rows = store.rows(made_for=guard.made_for, given=given)
        known = None if guard.calibrations is None else guard.calibrations.of(given=given)
        if rows and known is not None:
            found[given] = retune(known, rows, most_drift=most_drift)
    if not found:
        raise InputError(
            "expected confirmed verdicts for this profile and a calibration to retune, found none: "
            "run `heed guard calibrate`, and record verdicts with `heed guard feedback add`"
        )
    return found


@app.command()
def clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete all that was recorded. Asks first."""
    from heed.guard.feedback import Feedback

    store = Feedback()
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("expected a terminal to ask on, found none: add --yes", param_hint="--yes")
        if not typer.confirm(f"Delete all rows in {store.path}?", err=True):
            tell("nothing was deleted")
            return
    count = store.clear()
    if as_json:
        print_json({"path": str(store.path), "deleted": count})
    else:
        print(f"deleted {count} rows in {store.path}")
