"""Fit a profile and its calibration for any model from labelled pairs, on a CPU in minutes.

Whatever the method, candidates are judged on data sets that had no part in them, with the length of the text as the
baseline beside them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, get_args

from heed.errors import InputError
from heed.guard.calibration import Calibrations
from heed.guard.data import LabelledPair, load_pairs
from heed.guard.duplicates import Duplicates, duplicates
from heed.guard.fit_linear import fit_weights
from heed.guard.fit_margin import fit_heads
from heed.guard.shipped import CALIBRATION_FILE
from heed.model import Model
from heed.profile import PROFILE_FILE, LearnedProfile, Profile, fitted_folder
from heed.reduce.contrast import Aggregation
from heed.settings import settings

FitMethod = Literal["linear", "margin", "stability"]
"""``linear``: learned weights on all heads, windows; ``margin``: the Attention Tracker's rule, k by the AUROC of
left-out sets; ``stability``: the same, k by how stable the choice of heads is."""


@dataclass(frozen=True, slots=True)
class FitReport:
    """A fitted profile, its calibration, and where they were written."""

    profile: Profile | LearnedProfile
    calibrations: Calibrations
    folder: Path
    rows: int
    left_out_rows: int
    """Rows that could not be read (longer than the model's context, or without a token of their own)."""
    duplicates: tuple[Duplicates, ...]
    """Texts that stand in two data sets, or twice in one."""
    seconds: float

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must know: what the rows cannot show, and which of them stand more than once."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        for kind, one in (("with", self.calibrations.given), ("without", self.calibrations.neutral)):
            for note in () if one is None else one.notes:
                yield f"{kind} an instruction: {note}"
        yield from (one.says() for one in self.duplicates)
        if any(one.sets[0] != one.sets[1] for one in self.duplicates):
            yield (
                "what is left out of a fit was seen in another set: the left-out figures are too good; remove these "
                "rows, or give both sets' rows one `family`"
            )

    def record(self) -> dict[str, Any]:
        """JSON-ready summary."""
        given = self.calibrations.given
        return {
            "folder": str(self.folder),
            "model": self.profile.model,
            "depth": self.profile.depth,
            "method": self.profile.method,
            "threshold": None if given is None else given.threshold,
            "rows": self.rows,
            "left_out_rows": self.left_out_rows,
            "duplicates": [one.record() for one in self.duplicates],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
            "quality": dict(self.profile.quality),
        }

    def table(self) -> list[tuple[str, ...]]:
        """Quality by data set, header first."""
        header = ("data set", "rows", "AUROC left out", "AUROC fitted", "AUROC of length", "caught", "false alarms")
        rows: list[tuple[str, ...]] = [header]
        for name, one in self.profile.quality["sets"].items():
            rows.append((name, str(one["rows"]), *(_shown(one.get(key)) for key in _COLUMNS)))
        return rows


_COLUMNS = ("auroc_left_out", "auroc", "auroc_length", "tpr", "fpr")


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def fit(
    model: Model,
    files: Sequence[Path],
    *,
    method: FitMethod = "linear",
    out: Path | None = None,
    fpr: float = 0.01,
    depth: int | None = None,
    aggregation: Aggregation = "normalize_sum",
    limit: int | None = None,
    longest: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> FitReport:
    """Fit and write a profile and a calibration, from JSONL files of labelled pairs, one data set each.

    At most ``limit`` rows of each file are read; the rest is as in `fit_pairs`.

    Raises
    ------
    RecordError
        If a row does not follow the format.
    InputError
        If the settings leave nothing to fit.
    """
    _check(model, method=method, fpr=fpr, depth=depth)
    return fit_pairs(
        model,
        load_pairs(files, limit=limit),
        method=method,
        out=out,
        fpr=fpr,
        depth=depth,
        aggregation=aggregation,
        longest=longest,
        progress=progress,
    )


def fit_pairs(
    model: Model,
    pairs: Sequence[LabelledPair],
    *,
    method: FitMethod = "linear",
    out: Path | None = None,
    fpr: float = 0.01,
    depth: int | None = None,
    aggregation: Aggregation = "normalize_sum",
    longest: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> FitReport:
    """Fit and write a profile and a calibration.

    Parameters
    ----------
    pairs
        Rows of both classes, of one or more data sets. Read ``notes`` of the report: rows that stand in two of them
        make what is left out look better than it is.
    method
        How heads are weighed (`FitMethod`).
    out
        Folder to write to; None: where `Guard` finds it for these weights.
    fpr
        Share of benign rows that may be flagged.
    depth
        Most layers a pass may need; None: the fewest that lose less than a hundredth of AUROC.
    aggregation
        How masses become shares, for chosen heads.
    longest
        Longer prompts, in tokens, are left out of the fit.
    progress
        Called with tokens read and tokens to read.

    Raises
    ------
    InputError
        If the settings or the rows leave nothing to fit.
    """
    started = perf_counter()
    _check(model, method=method, fpr=fpr, depth=depth)
    shared: dict[str, Any] = {"fpr": fpr, "depth": depth, "longest": longest, "progress": progress}
    profile: Profile | LearnedProfile
    if method == "linear":
        profile, calibrations, rows = fit_weights(model, pairs, **shared)
    else:
        stable = method == "stability"
        profile, calibrations, rows = fit_heads(model, pairs, aggregation=aggregation, stable=stable, **shared)
    folder = out or fitted_folder(settings().profiles_dir, model, task="guard")
    profile.save(folder / PROFILE_FILE)
    calibrations.save(folder / CALIBRATION_FILE)
    twice = duplicates(pairs)
    return FitReport(profile, calibrations, folder, rows, len(pairs) - rows, twice, perf_counter() - started)


def _check(model: Model, *, method: str, fpr: float, depth: int | None) -> None:
    """Refuse settings that mean nothing, before rows are read."""
    if not 0.0 < fpr < 1.0 or (depth is not None and not 1 <= depth <= model.anatomy.layers):
        raise InputError(f"expected fpr in (0, 1) and depth in 1..{model.anatomy.layers}, found {fpr} and {depth}")
    if method not in get_args(FitMethod):
        raise InputError(f"expected the method as one of {', '.join(get_args(FitMethod))}, found {method!r}")
