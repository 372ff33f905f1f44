"""Use one: whether an untrusted part of a prompt is being obeyed, and which words do it."""

from heed.errors import AbstainedError as AbstainedError
from heed.guard.calibration import Calibration as Calibration
from heed.guard.calibration import Calibrations as Calibrations
from heed.guard.calibration import calibrate as calibrate
from heed.guard.example import Example as Example
from heed.guard.example import examples as examples
from heed.guard.guard import Guard as Guard
from heed.guard.verdict import Verdict as Verdict
