"""`heed guard compare`: two models or profiles judge the same labelled texts, and are set side by side."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from heed.cli.evaluate import FilesArgument, LimitOption
from heed.cli.options import DeviceOption, DtypeOption, JsonOption, check_profile, load_guard
from heed.cli.output import print_json, print_table, progress_bar, tell

if TYPE_CHECKING:
    from heed.evaluation import Comparison


def compare(
    *,
    files: FilesArgument,
    models: Annotated[
        tuple[str, str], typer.Option("--models", metavar="A B", help="Hub ids, folders, GGUF files, or `embedded`.")
    ] = ("embedded", "embedded"),
    profiles: Annotated[
        tuple[str, str] | None,
        typer.Option("--profiles", metavar="P Q", help="A profile for each (fast, full or a path); else those known."),
    ] = None,
    ensemble: Annotated[
        Literal["average", "vote"], typer.Option("--ensemble", help="How both together decide.")
    ] = "average",
    limit: LimitOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two models, or two profiles of one, on labelled texts, and try both together.

    The files are those of `heed guard evaluate`. A difference comes with the interval of a paired bootstrap; where it
    includes 0, none is shown. The first model is let go of before the second is loaded.

    Exit codes: 0 compared, 2 bad usage or input, 3 could not run.
    """
    if models[0] == models[1] and (profiles is None or profiles[0] == profiles[1]):
        raise typer.BadParameter("expected two models or two profiles, found the same twice", param_hint="--models")
    from heed.evaluation import compare
    from heed.guard.data import load_pairs

    pairs = load_pairs(files, limit=limit)
    own: tuple[str | None, str | None] = (None, None) if profiles is None else profiles
    for profile in own:
        check_profile(profile)
    names = [model if profile is None else f"{model} ({profile})" for model, profile in zip(models, own, strict=True)]
    loaders = [
        (name, lambda model=model, profile=profile: load_guard(model, dtype=dtype, device=device, profile=profile))
        for name, model, profile in zip(names, models, own, strict=True)
    ]
    with progress_bar("judging") as bar:
        comparison = compare(loaders, pairs, method=ensemble, progress=bar)
    _show(comparison, as_json=as_json)


def _show(comparison: "Comparison", *, as_json: bool) -> None:
    if as_json:
        print_json(comparison.record())
        return
    print_table(comparison.table())
    if comparison.ensemble:
        print()
        print_table(comparison.ensemble_table())
    print(f"\n{comparison.verdict}")
    for note in comparison.notes:
        tell(f"note: {note}")
