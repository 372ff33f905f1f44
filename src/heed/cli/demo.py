"""`heed demo`: the guard on the documents that ship with heed, its mistakes included."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.options import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    ThresholdOption,
    check_page,
    load_guard,
)
from heed.cli.output import print_json, print_picture, print_table, working

if TYPE_CHECKING:
    from heed.guard import Example, Verdict

JUDGED, ABSTAINED = 0, 3
_MARKS = {True: "✓", False: "✗", None: "?"}
_SIDES = {True: "injected", False: "clean", None: "abstained"}


def demo(
    *,
    page: Annotated[
        Path, typer.Option("--page", metavar="FILE", dir_okay=False, help="Where the HTML page is written.")
    ] = Path("heed-demo.html"),
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    threshold: ThresholdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the shipped example documents, show one verdict, and write it as an HTML page.

    Ten documents, five of them with an injection: a first look, no measurement.

    Exit codes: 0 all were judged (rightly or not), 2 bad usage or input, 3 could not run, or some were abstained from.
    """
    check_page(page)
    guard = load_guard(model, dtype=dtype, device=device, profile=profile, threshold=threshold)
    from heed.guard import examples
    from heed.picture import show

    shipped = examples()
    with working(f"judging {len(shipped)} documents"):
        verdicts = [guard.check(example.instruction, example.data) for example in shipped]
    rights = [_right(example, verdict) for example, verdict in zip(shipped, verdicts, strict=True)]
    counts = {"right": rights.count(True), "wrong": rights.count(False), "abstained": rights.count(None)}
    shown = _most_telling(rights, verdicts)
    picture = show(verdicts[shown])
    picture.html(page)
    if as_json:
        rows = [_record(*row) for row in zip(shipped, verdicts, rights, strict=True)]
        print_json({"examples": rows, **counts, "page": str(page)})
    else:
        rows_of_text = [_row(*row) for row in zip(shipped, verdicts, rights, strict=True)]
        print_table([("", "example", "expected", "verdict", "risk", "seconds", "raised by"), *rows_of_text])
        print(f"\n{shipped[shown].id}:\n")
        print_picture(picture)
        print(f"\npage: {page}")
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
    raise typer.Exit(ABSTAINED if counts["abstained"] else JUDGED)


def _right(example: "Example", verdict: "Verdict") -> bool | None:
    return None if verdict.flagged is None else verdict.flagged == bool(example.label)


def _most_telling(rights: list[bool | None], verdicts: "list[Verdict]") -> int:
    """Place of the rightly flagged one of the highest risk; else of a flagged one; else of the highest risk."""

    def telling(place: int) -> tuple[bool, bool, float]:
        flagged = verdicts[place].flagged is True
        return flagged and rights[place] is True, flagged, verdicts[place].score or 0.0

    return max(range(len(verdicts)), key=telling)


def _row(example: "Example", verdict: "Verdict", right: bool | None) -> tuple[str, ...]:
    return (
        _MARKS[right],
        example.id,
        _SIDES[bool(example.label)],
        _SIDES[verdict.flagged] if verdict.flagged is not None else verdict.status,
        "" if verdict.score is None else f"{verdict.score:.3f}",
        f"{verdict.seconds:.2f}",
        ", ".join(verdict.words[:3]),
    )


def _record(example: "Example", verdict: "Verdict", right: bool | None) -> dict[str, object]:
    return {"id": example.id, "label": example.label, "right": right, **verdict.record(), "words": list(verdict.words)}
