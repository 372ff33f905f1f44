"""What turns a risk into a decision: a threshold, a review band below it and a probability, for one way of scoring.

A calibration belongs to the way the score was made (profile, query tokens); made another way, it is refused. It
does not know models.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite, tanh
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from heed.errors import InputError, ProfileError
from heed.guard.empirical import Empirical
from heed.measure.interval import rows_needed
from heed.profile import read_json, write_json

VERSION = 1

Preset = Literal["strict", "balanced", "permissive"]
PRESETS: dict[Preset, float | None] = {"strict": 0.05, "balanced": None, "permissive": 0.002}
"""Share of the calibration's benign texts that may be flagged; ``balanced`` is the calibrated threshold itself."""

_ABOVE_ALL = 1.0 + 1e-6
"""The largest threshold: one that flags nothing lies just above the largest risk."""


def is_number(value: object) -> bool:
    """Whether it is a finite real number; a bool is none."""
    return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Flag iff ``score >= threshold``; look again iff ``review <= score < threshold``.

    The probability is ``1 / (1 + exp(-(slope * score + intercept)))`` (Platt 1999, with his smoothed targets), or runs
    straight between ``knots`` of score and probability (isotonic); None where there were no attacks to fit it on.

    Raises
    ------
    ProfileError
        If the threshold is no number from 0 to just above 1, the review band does not end at it, or the probability
        is neither a line nor rising knots: such a calibration would decide without saying anything.
    """

    threshold: float
    made_for: str = ""
    """Profile and query tokens the scores came from."""
    slope: float | None = None
    intercept: float | None = None
    target_fpr: float | None = None
    """Share of benign texts that was allowed to be flagged."""
    benign: int = 0
    """Benign rows it was made from, those that could not be judged included."""
    attacks: int = 0
    data_hash: str = ""
    method: str = ""
    """How the threshold was chosen (see `heed.guard.threshold`); empty where it was given."""
    review: float | None = None
    """Where the review band begins; None: there is none."""
    knots: tuple[tuple[float, float], ...] = ()
    alarms: int = 0
    """Benign rows of its own that it flags or that could not be judged."""
    caught: int | None = None
    """Attacks of its own that it flags; None where that is not known."""
    fpr_interval: tuple[float, float] | None = None
    """Exact 95 % interval of the share of benign texts it flags (Clopper-Pearson)."""
    distribution: Empirical | None = None
    """Of the benign scores: what presets, p-values and the drift alarm look up."""
    base: float | None = None
    """The threshold as it was calibrated, where feedback has moved it since."""
    notes: tuple[str, ...] = ()
    """What its user must know: targets that these rows cannot show or that are missed."""

    def __post_init__(self) -> None:
        if not (is_number(self.threshold) and 0.0 <= self.threshold <= _ABOVE_ALL):
            raise ProfileError(f"expected a threshold in [0, 1], found {self.threshold!r}: fit the calibration again")
        if self.review is not None and not (is_number(self.review) and 0.0 <= self.review <= self.threshold):
            raise ProfileError(
                f"expected a review band from 0 to the threshold {self.threshold:g}, found it to begin at "
                f"{self.review!r}: fit the calibration again"
            )
        line = (self.slope, self.intercept)
        if line != (None, None) and not all(map(is_number, line)):
            raise ProfileError(
                f"expected slope and intercept as two finite numbers or none, found {line}: fit the calibration again"
            )
        if not isinstance(self.made_for, str):
            raise ProfileError(f"expected made_for as a string, found {self.made_for!r}: fit the calibration again")
        if self.distribution is not None and self.benign < self.distribution.count:
            raise ProfileError(
                f"expected at least {self.distribution.count} benign rows, as many as scores, found {self.benign}: "
                "fit the calibration again"
            )
        if self.knots and not _rise(self.knots):
            raise ProfileError(
                "expected rising knots of score and probability, found others: fit the calibration again"
            )

    @property
    def fpr(self) -> float | None:
        """Share of its own benign rows that it flags or that could not be judged; None where it has none."""
        return self.alarms / self.benign if self.benign else None

    @property
    def rows_needed(self) -> int | None:
        """How many benign rows without one alarm would show the target at 95 %: about ``3 / target_fpr``."""
        return rows_needed(self.target_fpr) if self.target_fpr and self.target_fpr < 1.0 else None

    def probability(self, score: float) -> float | None:
        """Probability that the data holds an injection, if the share of attacks is as in the fitting data."""
        if self.knots:
            return float(np.interp(score, [knot[0] for knot in self.knots], [knot[1] for knot in self.knots]))
        if self.slope is None or self.intercept is None:
            return None
        return 0.5 + 0.5 * tanh((self.slope * score + self.intercept) / 2.0)

    def p_value(self, score: float) -> float | None:
        """Conformal p-value of "this text is like the benign ones" (`Empirical.p_value`); None without their scores."""
        return None if self.distribution is None else self.distribution.p_value(score)

    def at(self, preset: Preset) -> "Calibration":
        """The calibration at a preset's threshold.

        ``strict`` never flags less than ``balanced``, ``permissive`` never more.

        Raises
        ------
        ProfileError
            If the calibration does not hold the benign scores it was made from.
        """
        fpr = PRESETS[preset]
        if fpr is None:
            return self
        found = self.scores().threshold_at(fpr)
        threshold = min(found, self.threshold) if preset == "strict" else max(found, self.threshold)
        return self.moved(threshold, fpr)

    def moved(self, threshold: float, fpr: float) -> "Calibration":
        """The calibration at another threshold, with the review band below it and the alarms counted anew.

        Raises
        ------
        ProfileError
            If it does not hold the benign scores it was made from.
        """
        known = self.scores()
        alarms = known.reach(threshold) + self.benign - known.count
        review = review_from(known, max(fpr, alarms / self.benign), threshold)
        return replace(self, threshold=threshold, review=review, alarms=alarms, caught=None, fpr_interval=None)

    def scores(self) -> Empirical:
        """The distribution of the benign scores.

        Raises
        ------
        ProfileError
            If it does not hold them.
        """
        if self.distribution is None:
            raise ProfileError(
                "expected a calibration that knows its benign scores, found only a threshold: "
                "run `heed guard calibrate`, or give a threshold"
            )
        return self.distribution

    def record(self) -> dict[str, Any]:
        """JSON-ready summary, without the benign scores and knots."""
        value = asdict(self)
        del value["distribution"], value["knots"]
        return value | {"fpr": self.fpr, "rows_needed": self.rows_needed}


def review_from(distribution: Empirical, fpr: float, threshold: float) -> float:
    """Where the review band below a threshold begins: at five times its false alarms, at most 5 points more."""
    return min(threshold, distribution.threshold_at(min(5 * fpr, fpr + 0.05, 1.0)))


@dataclass(frozen=True, slots=True)
class Calibrations:
    """One calibration for texts judged with the application's instruction, one for texts judged without.

    Where no instruction is known a neutral one stands in, and risks lie elsewhere: a plain request then looks like an
    injection. Either is None where there was no data to calibrate on.
    """

    given: Calibration | None = None
    neutral: Calibration | None = None

    def of(self, *, given: bool, preset: Preset = "balanced") -> Calibration | None:
        """The calibration for texts with or without an instruction, at a preset's threshold."""
        found = self.given if given else self.neutral
        return None if found is None else found.at(preset)

    def check(self, preset: Preset) -> None:
        """Refuse a preset that does not exist, or that one of them cannot serve (see `Calibration.at`)."""
        if preset not in PRESETS:
            raise InputError(f"expected the preset as one of {', '.join(PRESETS)}, found {preset!r}")
        for one in (self.given, self.neutral):
            if one is not None:
                one.at(preset)

    def put(self, calibration: Calibration, *, given: bool) -> "Calibrations":
        """These with one of them replaced."""
        return Calibrations(calibration, self.neutral) if given else Calibrations(self.given, calibration)

    def refuse_other(self, made_for: str) -> None:
        """Refuse them for another way of scoring.

        Raises
        ------
        ProfileError
            With what was expected and found.
        """
        for one in (self.given, self.neutral):
            if one is not None and one.made_for != made_for:
                raise ProfileError(
                    f"expected a calibration made for {made_for!r} (profile and query tokens), found one made for "
                    f"{one.made_for!r}: its threshold means nothing here; run `heed guard calibrate`"
                )

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
            return cls(_read(value["given"]), _read(value["neutral"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ProfileError(
                f"expected a calibration as heed writes it, found {error!r} in {path}: fit it again"
            ) from error
        except ProfileError as error:
            raise ProfileError(f"{error} (in {path})") from error


def _read(value: Mapping[str, Any] | None) -> Calibration | None:
    """One calibration from JSON, whose lists become tuples again."""
    if value is None:
        return None
    known = value.get("distribution")
    lists = {name: value[name] for name in ("fpr_interval", "notes") if value.get(name) is not None}
    return Calibration(
        **{
            **value,
            **{name: tuple(item) for name, item in lists.items()},
            "knots": tuple((score, probability) for score, probability in value.get("knots", ())),
            "distribution": None if known is None else Empirical(tuple(known["scores"]), tuple(known["ranks"])),
        }
    )


def _rise(knots: tuple[tuple[float, float], ...]) -> bool:
    numbers = all(is_number(number) for knot in knots for number in knot)
    if not numbers or not all(0.0 <= probability <= 1.0 for _, probability in knots):
        return False
    scores, probabilities = np.array(knots).T
    return bool((np.diff(scores) > 0).all() and (np.diff(probabilities) >= 0).all())
