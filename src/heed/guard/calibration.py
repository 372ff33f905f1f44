"""What turns a risk into a decision: a threshold and a probability, fitted on labelled scores of one profile.

A calibration belongs to the way the score was made (profile, query tokens); made another way, it is refused. It
does not know models.
"""

from dataclasses import asdict, dataclass
from math import isfinite, tanh
from numbers import Real
from pathlib import Path

from jaxtyping import Float, Int
from numpy import ndarray

from heed.errors import ProfileError
from heed.measure.calibration import platt
from heed.measure.ranking import threshold_at_fpr
from heed.profile import read_json, write_json

VERSION = 1

_ABOVE_ALL = 1.0 + 1e-6
"""The largest threshold: one that flags nothing lies just above the largest risk."""


def is_number(value: object) -> bool:
    """Whether it is a finite real number; a bool is none."""
    return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Flag iff ``score >= threshold``; the probability is ``1 / (1 + exp(-(slope * score + intercept)))``.

    ``slope`` and ``intercept`` are Platt's (1999), with his smoothed targets; None where only a threshold is known.
    ``made_for`` names profile and query tokens the scores came from.

    Raises
    ------
    ProfileError
        If the threshold is no number from 0 to just above 1, or slope and intercept are not both numbers or both
        None: such a calibration would decide without saying anything.
    """

    threshold: float
    made_for: str = ""
    slope: float | None = None
    intercept: float | None = None
    target_fpr: float | None = None
    benign: int = 0
    attacks: int = 0
    data_hash: str = ""

    def __post_init__(self) -> None:
        if not (is_number(self.threshold) and 0.0 <= self.threshold <= _ABOVE_ALL):
            raise ProfileError(f"expected a threshold in [0, 1], found {self.threshold!r}: fit the calibration again")
        line = (self.slope, self.intercept)
        if line != (None, None) and not all(map(is_number, line)):
            raise ProfileError(
                f"expected slope and intercept as two finite numbers or none, found {line}: fit the calibration again"
            )
        if not isinstance(self.made_for, str):
            raise ProfileError(f"expected made_for as a string, found {self.made_for!r}: fit the calibration again")

    def probability(self, score: float) -> float | None:
        """Probability that the data holds an injection, if the share of attacks is as in the fitting data."""
        if self.slope is None or self.intercept is None:
            return None
        return 0.5 + 0.5 * tanh((self.slope * score + self.intercept) / 2.0)


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
            If the file is missing, damaged or of another version, or holds an impossible calibration.
        """
        value = read_json(path, version=VERSION, kind="calibration")
        try:
            neutral = value["neutral"]
            return cls(Calibration(**value["given"]), None if neutral is None else Calibration(**neutral))
        except (KeyError, TypeError) as error:
            raise ProfileError(
                f"expected a calibration as heed writes it, found {error!r} in {path}: fit it again"
            ) from error
        except ProfileError as error:
            raise ProfileError(f"{error} (in {path})") from error


def calibrate(
    scores: Float[ndarray, " N"], labels: Int[ndarray, " N"], *, fpr: float, made_for: str, data_hash: str = ""
) -> Calibration:
    """Choose the threshold that at most ``fpr`` of the benign scores reach, and fit the probability.

    The threshold is at least 0: with ``fpr = 1`` it flags every risk.

    Raises
    ------
    InputError
        If one class is missing or a score is not finite.
    ProfileError
        If the scores are no risks in [0, 1].
    """
    benign = scores[labels == 0]
    slope, intercept = platt(labels, scores)
    return Calibration(
        threshold=max(0.0, float(threshold_at_fpr(benign, fpr))),
        made_for=made_for,
        slope=float(slope),
        intercept=float(intercept),
        target_fpr=fpr,
        benign=len(benign),
        attacks=int((labels == 1).sum()),
        data_hash=data_hash,
    )
