"""Where the guard's calibrations lie: made here, beside a fitted profile, or shipped with heed."""

import re
from importlib.resources import files
from pathlib import Path

from heed.guard.calibration import Calibrations, Preset
from heed.model import Model
from heed.profile import fitted_folder
from heed.settings import settings

CALIBRATION_FILE = "calibration.json"


def calibration_path(model: Model, made_for: str) -> Path:
    """Where the calibrations are kept that `Guard.calibrate` made here for one profile of a model."""
    name = re.sub(r"[^\w.-]", "-", made_for)
    return fitted_folder(settings().profiles_dir, model, task="guard") / f"calibration-{name}.json"


def find_calibrations(model: Model, *, made_for: str, beside: Path | None = None) -> Calibrations | None:
    """The calibrations for a model's guard: made here for this very profile, else those that came with the profile.

    Where the profile was given by its path (``beside``, its folder or its file), the latter lie in that folder, else
    with heed under the profile's digest. Where it was not: with heed, else with the profile fitted here. None where
    there are none.
    """
    with_heed = Path(str(files("heed.guard") / "calibrations" / f"{made_for.partition('/')[0]}.json"))
    if beside is None:
        fitted = fitted_folder(settings().profiles_dir, model, task="guard") / CALIBRATION_FILE
        came_with = (with_heed, fitted)
    else:
        came_with = ((beside if beside.is_dir() else beside.parent) / CALIBRATION_FILE, with_heed)
    places = (calibration_path(model, made_for), *came_with)
    return next((Calibrations.load(path) for path in places if path.exists()), None)


def choose_calibrations(
    model: Model,
    calibration: Calibrations | Path | str | None,
    *,
    made_for: str,
    preset: Preset,
    beside: Path | None = None,
) -> Calibrations | None:
    """The calibrations a guard decides by: the ones given (values or a file), else those found.

    Raises
    ------
    InputError
        If there is no such preset.
    ProfileError
        If those given were made for another profile, or the preset needs benign scores that they do not hold.
    """
    if calibration is None:
        found = find_calibrations(model, made_for=made_for, beside=beside) or Calibrations()
    else:
        found = calibration if isinstance(calibration, Calibrations) else Calibrations.load(Path(calibration))
        found.refuse_other(made_for)
    found.check(preset)
    return None if found == Calibrations() else found
