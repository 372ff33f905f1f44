"""Several guards as one: their calibrated probabilities averaged, or their decisions counted.

It has `check` and `check_many`, and nothing else of a `Guard`. Whether it is worth its cost is for `heed guard compare`
to say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol, get_args

from heed.errors import InputError
from heed.guard.calibration import Calibrations, Preset, is_number
from heed.guard.verdict import Verdict
from heed.text.evidence import WeightedSpan
from heed.text.span import CharSpan

Method = Literal["average", "vote"]
"""``average``: the mean of the members' calibrated probabilities; ``vote``: the share of members that flag."""


class Member(Protocol):
    """What an ensemble asks of its guards."""

    @property
    def calibrations(self) -> Calibrations | None:
        """How it decides."""
        ...

    @property
    def preset(self) -> Preset:
        """Which threshold of its calibrations it uses."""
        ...

    def check_many(self, pairs: Iterable[tuple[str | None, str]], /) -> list[Verdict]:
        """One verdict for each pair, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Bars:
    """From which probability on a guard flags, with the application's instruction and without; None: not known."""

    given: float | None
    neutral: float | None

    @classmethod
    def of(cls, member: Member) -> "Bars":
        """Those of a guard."""

        def bar(*, given: bool) -> float | None:
            known = None if member.calibrations is None else member.calibrations.of(given=given, preset=member.preset)
            return None if known is None else known.probability(known.threshold)

        return cls(bar(given=True), bar(given=False))


class Ensemble:
    """Several guards that answer as one.

    With ``average`` the score is the mean of the members' calibrated probabilities. It flags from ``threshold`` on, if
    none is given from the mean of the probabilities at which the members flag: what all of them find borderline is
    borderline. With ``vote`` the score is the share of members that flag, and a half of them (``threshold``) suffices.
    Either way the false-alarm rate is the ensemble's own: measure it (`heed guard compare`).
    Where one member abstains, so does the ensemble; it has no review band.

    Parameters
    ----------
    guards
        Two or more guards; all their models stay in memory.
    threshold
        Flag from this score on, in [0, 1].

    Raises
    ------
    InputError
        If there are fewer than two guards, or method or threshold are none that exist.
    """

    def __init__(self, guards: Sequence[Member], *, method: Method = "average", threshold: float | None = None) -> None:
        if len(guards) < 2:
            raise InputError(f"expected two or more guards, found {len(guards)}: one is used as it is")
        if method not in get_args(Method):
            raise InputError(f"expected one of {', '.join(get_args(Method))}, found {method!r}")
        if threshold is not None and not (is_number(threshold) and 0.0 <= threshold <= 1.0):
            raise InputError(f"expected a threshold in [0, 1], found {threshold!r}")
        self.guards = tuple(guards)
        self.method: Method = method
        self.threshold = threshold

    def check(self, instruction: str | None, data: str) -> Verdict:
        """Judge one text, as `Guard.check`; ``seconds`` and ``tokens`` are sums over the members."""
        return self.check_many([(instruction, data)])[0]

    def check_many(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        """Judge many texts, as `Guard.check_many`."""
        asked = list(pairs)
        bars = [Bars.of(guard) for guard in self.guards]
        answers = zip(*(guard.check_many(asked) for guard in self.guards), strict=True)
        return [
            combine(verdicts, bars, method=self.method, given=instruction is not None, threshold=self.threshold)
            for (instruction, _), verdicts in zip(asked, answers, strict=True)
        ]


def combine(
    verdicts: Sequence[Verdict],
    bars: Sequence[Bars],
    *,
    method: Method = "average",
    given: bool = True,
    threshold: float | None = None,
) -> Verdict:
    """The verdict of an ensemble on one text, from those of its members.

    Parameters
    ----------
    verdicts, bars
        One for each member.
    given
        Whether the application's instruction was known.
    """
    first = verdicts[0]
    whole = Verdict(
        status="uncalibrated",
        reason="",
        seconds=sum(verdict.seconds for verdict in verdicts),
        tokens=sum(verdict.tokens for verdict in verdicts),
        instruction=first.instruction,
        data=first.data,
        model=" + ".join(verdict.model for verdict in verdicts),
        notes=tuple(dict.fromkeys(note for verdict in verdicts for note in verdict.notes)),
    )
    silent = next((verdict for verdict in verdicts if verdict.flagged is None), None)
    if silent is not None:
        return replace(whole, status=silent.status, reason=f"{silent.model} abstained: {silent.reason}")
    spans, marks = ([getattr(verdict, name) for verdict in verdicts] for name in ("spans", "marks"))
    whole = replace(whole, spans=_merged(spans), marks=_merged(marks))
    if method == "vote":
        share = sum(verdict.flagged is True for verdict in verdicts) / len(verdicts)
        return _decided(whole, share, 0.5 if threshold is None else threshold, None)
    known = [verdict.probability for verdict in verdicts if verdict.probability is not None]
    own = [bar for bar in (bar.given if given else bar.neutral for bar in bars) if bar is not None]
    bar = threshold if threshold is not None else sum(own) / len(own) if len(own) == len(verdicts) else None
    if len(known) < len(verdicts) or bar is None:
        reason = (
            "expected a calibrated probability from every member, found one without: calibrate it, or let them vote"
        )
        return replace(whole, reason=reason)
    mean = sum(known) / len(known)
    return _decided(whole, mean, bar, mean)


def _decided(whole: Verdict, score: float, threshold: float, probability: float | None) -> Verdict:
    flagged = score >= threshold
    side = "at or above" if flagged else "below"
    what = "share of votes" if probability is None else "mean probability"
    return replace(
        whole,
        status="ok",
        flagged=flagged,
        score=score,
        threshold=threshold,
        probability=probability,
        reason=f"{what} {score:.3f} is {side} the threshold {threshold:.3f}",
    )


def _merged(members: Sequence[Sequence[WeightedSpan]]) -> tuple[WeightedSpan, ...]:
    """What the members named, each span's weight spread over its characters and averaged; heaviest first."""
    spans = [span for member in members for span in member if span.end > span.start]
    edges = sorted({edge for span in spans for edge in (span.start, span.end)})
    found: list[WeightedSpan] = []
    for start, end in pairwise(edges):
        covering = [span for span in spans if span.start <= start and end <= span.end]
        if not covering:
            continue
        weight = sum(span.weight * (end - start) / (span.end - span.start) for span in covering) / len(members)
        if found and found[-1].end == start:
            before = found.pop()
            start, weight = before.start, before.weight + weight  # noqa: PLW2901
        found.append(WeightedSpan(CharSpan(start, end), min(1.0, weight)))
    return tuple(sorted(found, key=lambda span: -span.weight))
