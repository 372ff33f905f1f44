"""Where the guard's calibrations lie: beside a fitted profile, or shipped with heed."""

from importlib.resources import files
from pathlib import Path

from heed.guard.calibration import Calibrations
from heed.model import Model
from heed.profile import fitted_folder
from heed.settings import settings

CALIBRATION_FILE = "calibration.json"


def find_calibrations(model: Model, *, folder: Path | None = None) -> Calibrations | None:
    """The calibrations for a model's guard: from ``folder`` if given, else fitted here, else shipped, else None."""
    if folder is not None:
        path = folder / CALIBRATION_FILE
        return Calibrations.load(path) if path.exists() else None
    own = fitted_folder(settings().profiles_dir, model, task="guard") / CALIBRATION_FILE
    if own.exists():
        return Calibrations.load(own)
    with_heed = files("heed.guard") / "calibrations" / f"{model.fingerprint}.json"
    return Calibrations.load(Path(str(with_heed))) if with_heed.is_file() else None
