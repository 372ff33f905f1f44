"""Use one: whether an untrusted part of a prompt is being obeyed, and which words do it."""

from heed.errors import AbstainedError as AbstainedError
from heed.guard.calibrating import calibrate as calibrate
from heed.guard.calibration import Calibration as Calibration
from heed.guard.calibration import Calibrations as Calibrations
from heed.guard.calibration import Preset as Preset
from heed.guard.drift import Drift as Drift
from heed.guard.drift import DriftAlarm as DriftAlarm
from heed.guard.ensemble import Ensemble as Ensemble
from heed.guard.example import Example as Example
from heed.guard.example import examples as examples
from heed.guard.feedback import Confirmed as Confirmed
from heed.guard.feedback import Feedback as Feedback
from heed.guard.guard import Guard as Guard
from heed.guard.messages import MessagesVerdict as MessagesVerdict
from heed.guard.messages import PartVerdict as PartVerdict
from heed.guard.retuning import Retuned as Retuned
from heed.guard.retuning import retune as retune
from heed.guard.sanitize import Sanitized as Sanitized
from heed.guard.stats import Stats as Stats
from heed.guard.verdict import Verdict as Verdict
