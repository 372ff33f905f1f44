"""What turns a risk into a decision: a threshold and a probability, fitted on labelled scores of one profile.

A calibration belongs to the way the score was made (profile, query tokens); made another way, it is refused. It
does not know models.
"""

from dataclasses import asdict, dataclass
from math import exp
from pathlib import Path

from jaxtyping import Float, Int
from numpy import ndarray

from heed.errors import ProfileError
from heed.measure.calibration import platt
from heed.measure.ranking import threshold_at_fpr
from heed.profile import read_json, write_json

VERSION = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """Flag iff ``score >= threshold``; the probability is ``1 / (1 + exp(-(slope * score + intercept)))``.

    ``slope`` and ``intercept`` are Platt's (1999), with his smoothed targets; None where only a threshold is known.
    ``made_for`` names profile and query tokens the scores came from.
    """

    threshold: float
    made_for: str = ""
    slope: float | None = None
    intercept: float | None = None
    target_fpr: float | None = None
    benign: int = 0
    attacks: int = 0
    data_hash: str = ""

    def probability(self, score: float) -> float | None:
        """Probability that the data holds an injection, if the share of attacks is as in the fitting data."""
        if self.slope is None or self.intercept is None:
            return None
        return 1.0 / (1.0 + exp(-(self.slope * score + self.intercept)))


@dataclass(frozen=True, slots=True)
class Calibrations:
    """One calibration for texts judged with the application's instruction, one for texts judged without.

    Where no instruction is known a neutral one stands in, and risks lie elsewhere: a plain request then looks like an
    injection. ``neutral`` is None where there was no data to calibrate on.
    """

    given: Calibration
    neutral: Calibration | None = None

    def of(self, *, given: bool) -> Calibration | None:
        """The calibration for texts with or without an instruction."""
        return self.given if given else self.neutral

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_json(path, {"version": VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> "Calibrations":
        """Read what `save` wrote.

        Raises
        ------
        ProfileError
            If the file is missing, damaged or of another version.
        """
        value = read_json(path, version=VERSION, kind="calibration")
        try:
            neutral = value["neutral"]
            return cls(Calibration(**value["given"]), None if neutral is None else Calibration(**neutral))
        except (KeyError, TypeError) as error:
            raise ProfileError(f"expected a calibration as heed writes it, found {error!r} in {path}") from error


def calibrate(
    scores: Float[ndarray, " N"], labels: Int[ndarray, " N"], *, fpr: float, made_for: str, data_hash: str = ""
) -> Calibration:
    """Choose the threshold that at most ``fpr`` of the benign scores reach, and fit the probability.

    Raises
    ------
    InputError
        If one class is missing or a score is not finite.
    """
    benign = scores[labels == 0]
    slope, intercept = platt(labels, scores)
    return Calibration(
        threshold=float(threshold_at_fpr(benign, fpr)),
        made_for=made_for,
        slope=float(slope),
        intercept=float(intercept),
        target_fpr=fpr,
        benign=len(benign),
        attacks=int((labels == 1).sum()),
        data_hash=data_hash,
    )
