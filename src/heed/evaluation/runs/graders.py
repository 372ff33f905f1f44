"""Right or wrong: a model's answer comes in, a grade goes out. Nothing a model wrote is ever executed.

Each kind of answer is one parser, from text to a value that can be compared, or None where the text holds none: then
the grade is `unparsed`, which is neither right nor wrong.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from heed.errors import RecordError

Kind = Literal["exact", "choice", "numeric", "date", "duration"]
Status = Literal["correct", "wrong", "unparsed"]

KINDS: tuple[Kind, ...] = ("exact", "choice", "numeric", "date", "duration")
TOLERANCE = 0.05
"""Relative, for a decimal target without limits of its own, as in MedCalc-Bench; whole numbers must be met."""

_MARK = re.compile(r"\b(?:final\s+)?answer\b[\s*_]{0,3}(?:is\b)?\s*[:=]?[\s*_`$]*", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d{1,3}(?!\d))?"
)
_LETTER = re.compile(r"(?<![\w'])\(?([A-Z])\)?(?![\w'])")
_ALONE = re.compile(r"[\s*_]*\(?([A-Z])(?:[*_\s]*\Z|[).:*])")
_AMOUNT = re.compile(r"([-+\u2212]?\d+(?:\.\d+)?)\s*(second|minute|hour|day|week|month|year)s?\b", re.IGNORECASE)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_MONTHS = {"month": 1, "year": 12}
_DATES = (
    (re.compile(r"\b\d{4}-\d{1,2}-\d{1,2}\b"), "%Y-%m-%d"),
    (re.compile(r"\b\d{1,2}/\d{1,2}/\d{4}\b"), "%m/%d/%Y"),
    (re.compile(r"\b\d{1,2} [A-Za-z]{3,9},? \d{4}\b"), "%d %B %Y"),
    (re.compile(r"\b[A-Za-z]{3,9} \d{1,2},? \d{4}\b"), "%B %d %Y"),
)


@dataclass(frozen=True, slots=True)
class Grade:
    """What a grader says: ``found`` is the answer as it was understood, None where none was found."""

    status: Status
    found: str | None

    @property
    def correct(self) -> bool:
        """Whether the answer is right."""
        return self.status == "correct"


@dataclass(frozen=True, slots=True)
class Grader:
    """Grades answers to one example.

    ``targets`` are the right answers, any of which will do. Numbers may instead lie between ``lower`` and ``upper``
    (both belong), or within ``tolerance`` of a target (relative to it).
    """

    kind: Kind
    targets: tuple[str, ...]
    tolerance: float | None = None
    lower: float | None = None
    upper: float | None = None

    def __call__(self, response: str) -> Grade:
        """Grade a response."""
        parse: Callable[[str], Any] = _PARSERS[self.kind]
        found = parse(response)
        if found is None:
            return Grade("unparsed", None)
        right = any(self._meets(found, parse(target), target) for target in self.targets)
        return Grade("correct" if right else "wrong", _shown(found))

    def _meets(self, found: Any, value: Any, target: str) -> bool:
        if self.kind != "numeric":
            return bool(found == value)
        if self.lower is not None or self.upper is not None:
            return (self.lower is None or found >= self.lower) and (self.upper is None or found <= self.upper)
        share = self.tolerance if self.tolerance is not None else TOLERANCE if "." in target else 0.0
        return bool(abs(found - value) <= share * abs(value) + 1e-9)


def grader_of(target: str | tuple[str, ...], expects: Mapping[str, Any], *, where: str) -> Grader:
    """The grader of an example; without a ``grader`` of its own, the kind is that of its target.

    Raises
    ------
    RecordError
        If the kind is unknown, the target is not of that kind, or a setting is no number or lets no answer be right.
    """
    targets = target if isinstance(target, tuple) else (target,)
    kind = expects.get("grader") or kind_of(targets)
    if kind not in KINDS:
        raise RecordError(f"expected a grader among {', '.join(KINDS)} in {where}, found {kind!r}: correct it")
    grader = Grader(kind, targets, *(_number(expects, name, where) for name in ("tolerance", "lower", "upper")))
    _check_limits(grader, where)
    limited = kind == "numeric" and not (grader.lower is None and grader.upper is None)
    bad = next((one for one in targets if _PARSERS[kind](one) in (None, math.inf, -math.inf)), None)
    if bad is not None and not limited:
        raise RecordError(f"expected a target of kind {kind} in {where}, found {bad!r}: correct target or grader")
    return grader


def kind_of(targets: tuple[str, ...]) -> Kind:
    """What kind of answer the targets are: a number, a date or a duration throughout, else text to be met exactly."""
    checks: tuple[tuple[Kind, Callable[[str], bool]], ...] = (
        ("date", lambda text: any(form.fullmatch(text.strip()) and parse_date(text) for form, _ in _DATES)),
        ("numeric", lambda text: _NUMBER.fullmatch(text.strip().rstrip("%")) is not None),
        ("duration", lambda text: not _AMOUNT.sub("", text).strip(" (),.and") and parse_duration(text) is not None),
    )
    return next((kind for kind, fits in checks if all(map(fits, targets))), "exact")


def parse_exact(text: str) -> str | None:
    """The answer's words: small letters, one blank between, no marks around; of the line behind ``Answer:``."""
    line = next((line for line in answer_of(text).splitlines() if line.strip()), "")
    words = unicodedata.normalize("NFKC", line).casefold().split()
    plain = " ".join(words).strip(" .,;:!?\"'`*_()[]{}\u201c\u201d\u2018\u2019")
    return plain or None


def parse_choice(text: str) -> str | None:
    """A letter that stands alone: the first behind ``Answer:``, else the one the text begins with, as in ``B)``."""
    answer = answer_of(text).strip()
    form = _LETTER if marked(text) else _ALONE
    letter = form.search(answer) if marked(text) else form.match(answer)
    return None if letter is None else letter[1]


def parse_numeric(text: str) -> float | None:
    """The first number behind ``Answer:``, else the last one; commas between thousands are left out."""
    found = [match[0] for match in _NUMBER.finditer(answer_of(text)) if any(map(str.isdigit, match[0]))]
    if not found:
        return None
    return float((found[0] if marked(text) else found[-1]).replace(",", "").replace("\u2212", "-"))


def parse_date(text: str) -> date | None:
    """The first date behind ``Answer:``, else the last: 2021-03-09, 03/09/2021 (month first), 9 March 2021."""
    answer = answer_of(text)
    found = [
        (match.start(), day) for form, way in _DATES for match in form.finditer(answer) if (day := _day(match[0], way))
    ]
    found.sort()
    return None if not found else found[0 if marked(text) else -1][1]


def parse_duration(text: str) -> tuple[float, float] | None:
    """Months and seconds of all amounts behind ``Answer:``: (3 weeks, 2 days) and 23 days are the same."""
    amounts = [
        (float(number.replace("\u2212", "-")), unit.lower()) for number, unit in _AMOUNT.findall(answer_of(text))
    ]
    if not amounts:
        return None
    months = sum(number * _MONTHS[unit] for number, unit in amounts if unit in _MONTHS)
    return months, sum(number * _SECONDS[unit] for number, unit in amounts if unit in _SECONDS)


def answer_of(text: str) -> str:
    """What stands behind the last ``Answer:``, or the whole text where nothing does."""
    place = marked(text)
    return text[place.end() :] if place else text


def marked(text: str) -> re.Match[str] | None:
    """The last ``Answer:`` (or ``the answer is``) with something behind it."""
    places = [match for match in _MARK.finditer(text) if _is_mark(match[0]) and text[match.end() :].strip()]
    return places[-1] if places else None


def _is_mark(text: str) -> bool:
    return text.rstrip(" *_`$\n\t").endswith((":", "=", "is"))


def _day(text: str, form: str) -> date | None:
    plain = text.replace(",", "")
    for way in (form, form.replace("%B", "%b")):
        try:
            return datetime.strptime(plain, way).date()
        except ValueError:
            continue
    return None


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{value[0]:g} months {value[1]:g} s" if value[0] else f"{value[1]:g} s"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_limits(grader: Grader, where: str) -> None:
    """Refuse limits that no answer can keep."""
    if grader.tolerance is not None and grader.tolerance < 0:
        raise RecordError(f"expected a tolerance of 0 or more in {where}, found {grader.tolerance}: correct it")
    if grader.lower is not None and grader.upper is not None and grader.lower > grader.upper:
        raise RecordError(
            f"expected lower <= upper in {where}, found {grader.lower} and {grader.upper}: correct one of them"
        )


def _number(expects: Mapping[str, Any], name: str, where: str) -> float | None:
    value = expects.get(name)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RecordError(f"expected a number as {name} in {where}, found {value!r}: correct it")
    return number


_PARSERS: dict[Kind, Callable[[str], Any]] = {
    "exact": parse_exact,
    "choice": parse_choice,
    "numeric": parse_numeric,
    "date": parse_date,
    "duration": parse_duration,
}
