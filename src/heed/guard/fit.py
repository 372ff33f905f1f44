"""Fit a profile and its calibration for any model from labelled pairs, on a CPU in minutes.

Whatever the method, candidates are judged on data sets that had no part in them, with the length of the text as the
baseline beside them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, get_args

from heed.errors import InputError
from heed.guard.calibration import Calibrations
from heed.guard.data import load_pairs
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
    seconds: float

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
    """Fit and write a profile and a calibration.

    Parameters
    ----------
    files
        JSONL files of labelled pairs, one data set each.
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
    limit
        Most rows of each file.
    longest
        Longer prompts, in tokens, are left out of the fit.
    progress
        Called with tokens read and tokens to read.

    Raises
    ------
    RecordError
        If a row does not follow the format.
    InputError
        If the settings leave nothing to fit.
    """
    started = perf_counter()
    if not 0.0 < fpr < 1.0 or (depth is not None and not 1 <= depth <= model.anatomy.layers):
        raise InputError(f"expected fpr in (0, 1) and depth in 1..{model.anatomy.layers}, found {fpr} and {depth}")
    if method not in get_args(FitMethod):
        raise InputError(f"expected the method as one of {', '.join(get_args(FitMethod))}, found {method!r}")
    pairs = load_pairs(files, limit=limit)
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
    return FitReport(profile, calibrations, folder, rows, len(pairs) - rows, perf_counter() - started)
