"""`heed cite fit`: questions whose supporting facts are known come in, a profile for one model goes out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.options import DeviceOption, DtypeOption, JsonOption, ModelOption, load_model
from heed.cli.output import print_json, print_table, progress_bar, tell
from heed.jobs.output import storing

if TYPE_CHECKING:
    from heed.profile import RankingProfile


def fit(
    *,
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="FILE", exists=True, dir_okay=False, help="A data set; name two or more."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", file_okay=False, help="Folder to write; else where `answer` finds it."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Most lines used of each file.")] = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn which heads of a model show the facts that matter.

    Each line of a data set is a JSON object: `question`; `units`, the facts in order; `separator`; `gold`, numbers
    (from 0) of the units that support the answer; and `response`, an answer, or null. Quality is that on sets
    left out, or with a single set on rows left out by fifths.

    Exit codes: 0 fitted, 2 bad usage or input, 3 could not run.
    """
    from heed.citation.data import load_questions

    rows = load_questions(data, limit=limit)
    loaded = load_model(model, dtype=dtype, device=device)
    from heed.citation.fit import fit
    from heed.profile.find import PROFILE_FILE, fitted_folder
    from heed.settings import settings

    with progress_bar("reading questions") as bar:
        profile = fit(loaded, rows, progress=bar)
    folder = out or fitted_folder(settings().profiles_dir, loaded, task=profile.task)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        profile.save(folder / PROFILE_FILE)
    if as_json:
        kept = {"digest": profile.digest, "data_hash": profile.data_hash, "quality": dict(profile.quality)}
        print_json({"folder": str(folder), "model": profile.model, **kept})
    else:
        print_table(_table(profile))
        tell(f"written to {folder}")


_LEFT_OUT = {"sets": "the set", "rows": "a fifth of the rows"}


def _table(profile: "RankingProfile") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("looked from", "data set", "left out", "recall@5", "depth")]
    for kind, found in profile.quality.items():
        left_out = "sets" if "recall_at_5_sets_left_out" in found else "rows"
        each = found[f"recall_at_5_{left_out}_left_out"]
        rows += [
            (kind, name, _LEFT_OUT[left_out], f"{recall:.3f}", str(found["depth"])) for name, recall in each.items()
        ]
    return rows
