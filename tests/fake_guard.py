"""A guard that needs no model: sentences with the word BAD are injected; UNSURE makes it abstain."""

from collections.abc import Iterable

from heed.guard.verdict import Verdict
from heed.text.evidence import WeightedSpan
from heed.text.split import sentences


class FakeGuard:
    """Flags what holds BAD; ``blind`` words are flagged too, but cannot be located. Remembers what it was asked."""

    def __init__(self, *, blind: str = "WORSE", once: bool = False) -> None:
        self.blind = blind
        self.once = once
        self.batches: list[list[tuple[str | None, str]]] = []

    def check_many(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        self.batches.append(list(pairs))
        return [self.judge(*pair) for pair in self.batches[-1]]

    def judge(self, instruction: str | None, data: str) -> Verdict:
        known = {"instruction": instruction or "", "data": data}
        found = [WeightedSpan(span, 0.1) for span in sentences(data) if "BAD" in data[span.slice()]]
        if not data.strip() or "UNSURE" in data:
            status = "uncalibrated" if data.strip() else "empty_data"
            return Verdict(status=status, reason="cannot say", spans=tuple(found), **known)
        flagged = bool(found) or self.blind in data
        return Verdict(
            status="ok",
            reason="as it says",
            flagged=flagged,
            score=float(flagged),
            threshold=0.5,
            spans=tuple(found[:1] if self.once else found),
            **known,
        )
