"""What the guard says of one text: flagged or not, how sure, why; or that it cannot say, and why not.

A verdict describes itself as a `Scene`; it does not know how it was read or how it is drawn.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from heed.errors import AbstainedError
from heed.text.evidence import Evidence, HeadGrid, Passage, Scene, Tone, WeightedSpan

Status = Literal[
    "ok",
    "uncalibrated",
    "empty_instruction",
    "empty_data",
    "invalid_text",
    "not_text",
    "span_not_found",
    "too_long",
    "not_finite",
    "out_of_memory",
]
"""``ok``, or why the guard abstained."""

Action = Literal["allow", "review", "block"]
"""What to do with a text: let it pass, have it looked at, hold it back."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The guard's answer for one pair of instruction and data.

    ``score`` is a risk in [0, 1], higher is worse, None where nothing could be read. ``probability`` is calibrated to
    the mix of the fitting data. ``spans`` are offsets into the caller's own data, heaviest first: the sentences
    that raised the risk, what is judged injected if the text is flagged; ``marks`` are the words that raised it most.
    Their weights are shares of what raised it. ``flagged`` is None where the guard abstained:
    then ``allow`` is False and ``bool(verdict)`` raises. ``review`` is where the review band below the threshold
    begins: within it ``allow`` is True and ``action`` asks for a second look. ``seconds`` is what rendering and
    encoding this pair took, and its share of the time its batch was read in.
    """

    status: Status
    reason: str
    flagged: bool | None = None
    score: float | None = None
    threshold: float | None = None
    review: float | None = None
    probability: float | None = None
    spans: tuple[WeightedSpan, ...] = ()
    marks: tuple[WeightedSpan, ...] = ()
    seconds: float = 0.0
    instruction: str = ""
    data: str = ""
    tokens: int = 0
    model: str = ""
    notes: tuple[str, ...] = ()
    heads: HeadGrid | None = field(default=None, repr=False)

    @property
    def allow(self) -> bool:
        """Whether the text may pass: only if it was judged and not flagged."""
        return self.flagged is False

    @property
    def action(self) -> Action:
        """``block`` if flagged or abstained from: what was not judged must not pass.

        ``review`` if not flagged, but at ``review`` or above; else ``allow``.
        """
        if not self.allow:
            return "block"
        banded = self.review is not None and self.score is not None and self.score >= self.review
        return "review" if banded else "allow"

    @property
    def words(self) -> tuple[str, ...]:
        """The text of each mark."""
        return Evidence(self.data, self.marks).words()

    def __bool__(self) -> bool:
        if self.flagged is None:
            raise AbstainedError(f"expected a verdict, found that the guard abstained ({self.status}): {self.reason}")
        return self.flagged

    def record(self) -> dict[str, Any]:
        """The fields of one output line of a scan, JSON-ready."""
        return {
            "flagged": self.flagged,
            "action": self.action,
            "score": self.score,
            "threshold": self.threshold,
            "review": self.review,
            "probability": self.probability,
            "status": self.status,
            "spans": [{"start": s.start, "end": s.end, "weight": round(s.weight, 6)} for s in self.spans],
            "reason": self.reason,
            "seconds": round(self.seconds, 6),
        }

    def scene(self) -> Scene:
        """The verdict as a picture."""
        tone: Tone = "unsure" if self.flagged is None else "bad" if self.flagged else "good"
        headline = {"unsure": "Abstained", "bad": "Injection suspected", "good": "No injection found"}[tone]
        data = Passage("data (untrusted)", Evidence(self.data, self.marks), "share of what raised the risk")
        return Scene(
            title="heed guard",
            headline=headline,
            tone=tone,
            passages=(Passage("instruction (trusted)", Evidence(self.instruction)), data),
            facts=self._facts(),
            risk=None if self.score is None else (self.score, self.threshold),
            heads=self.heads,
            notes=(self.reason, *self.notes),
        )

    def _facts(self) -> tuple[tuple[str, str], ...]:
        def number(value: float | None) -> str:
            return "none" if value is None else f"{value:.3f}"

        return (
            ("risk", number(self.score)),
            ("threshold", number(self.threshold)),
            ("probability", number(self.probability)),
            ("status", self.status),
            ("tokens", str(self.tokens)),
            ("seconds", f"{self.seconds:.3f}"),
            ("model", self.model),
        )
