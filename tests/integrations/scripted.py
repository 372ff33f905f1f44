"""A guard whose verdicts follow from words of the text: what the adapters are tried on."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from heed.guard import Verdict
from heed.text.evidence import WeightedSpan
from heed.text.span import CharSpan

ATTACK, CLEAN = "ATTACK", "Sunny, 20 degrees."
NOTICE = "[withheld by heed: this text seems to carry instructions of its own]"
TOO_LONG = "[withheld by heed: this text could not be judged (too_long)]"
UNREADABLE = "[withheld by heed: this text could not be judged (not_text)]"


@dataclass
class ScriptedGuard:
    """Flags what holds ATTACK, abstains from what holds TOO LONG, and remembers what it was asked."""

    asked: list[tuple[str | None, str]] = field(default_factory=list)
    model = SimpleNamespace(name="scripted")

    def check_many(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        pairs = list(pairs)
        self.asked += pairs
        return [verdict(data) for _, data in pairs]

    def sanitize(self, instruction: str | None, data: str) -> SimpleNamespace:
        left = data.replace(ATTACK, "").strip()
        return SimpleNamespace(text=left, allow=verdict(left).allow)


def verdict(data: str) -> Verdict:
    base = Verdict("ok", "judged", data=data, seconds=0.25, tokens=7, model="scripted")
    if not data.strip():
        return replace(base, status="empty_data", reason="found none")
    if "TOO LONG" in data:
        return replace(base, status="too_long", reason="found too many tokens")
    if ATTACK in data:
        at = data.index(ATTACK)
        spans = (WeightedSpan(CharSpan(at, at + len(ATTACK)), 0.9),)
        said = f"risk 0.9; raised most by: {ATTACK!r}"
        return replace(base, reason=said, flagged=True, score=0.9, threshold=0.5, probability=0.8, spans=spans)
    return replace(base, flagged=False, score=0.1, threshold=0.5, probability=0.05)
