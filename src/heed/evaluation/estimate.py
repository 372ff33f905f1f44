"""A measured number with its interval, and how tables write it."""

from dataclasses import dataclass

from heed.measure import Interval, binomial_interval

MISSING = "–"
"""What a table shows where there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the 95 % interval around it."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, interval: Interval) -> "Estimate":
        """A number with an interval of `heed.measure`."""
        return cls(float(value), interval.low, interval.high)

    @classmethod
    def share(cls, count: int, n: int) -> "Estimate | None":
        """``count`` of ``n`` with its exact (Clopper-Pearson) interval; None of none."""
        return cls.of(count / n, binomial_interval(count, n)) if n else None

    def record(self) -> dict[str, float]:
        """JSON-ready."""
        return {"value": self.value, "low": self.low, "high": self.high}


def record(estimate: Estimate | None) -> dict[str, float] | None:
    """JSON-ready; None stays None."""
    return None if estimate is None else estimate.record()


def number(value: float | Estimate | None) -> str:
    """Three decimals, without the interval."""
    if value is None:
        return MISSING
    return f"{value.value if isinstance(value, Estimate) else value:.3f}"


def percent(estimate: Estimate | None) -> str:
    """Percent and the interval: ``75 (70-79)``, ``1.3 (0.4-3.1)``."""
    if estimate is None:
        return MISSING
    value, low, high = (
        f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"
        for share in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low}-{high})"
