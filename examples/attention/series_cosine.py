"""Cosine attention on time series: a day ahead from a week of hours, on generated seasonal data.

    python examples/attention/series_cosine.py

A series has a daily and a weekly rhythm of its own, a drift and noise. The models see 168 hours and forecast the next
24; the last fifth of each series is held out in time. Beside the two metrics stands the naive forecast, the same
hour of the week before, and the error that the noise alone leaves.
"""

import math
import sys
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional

from heed.attention import AttentionConfig, TransformerEncoderBlock

DAY, WEEK, NOISE = 24, 168, 0.3


def series(count: int = 32, hours: int = 20 * WEEK) -> Tensor:
    """Hourly values ``[count, hours]`` of about unit size."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(count, *shape, 1, generator=generator)

    hour = torch.arange(hours)
    rhythm = torch.zeros(count, hours)
    for period, harmonics in ((DAY, 3), (WEEK, 2)):
        for n in range(1, harmonics + 1):
            angle = 2 * math.pi * n * hour / period
            rhythm += (drawn() * angle.sin() + drawn() * angle.cos()) / n
    drift = torch.cumsum(torch.randn(count, hours, generator=generator), 1) * 0.02
    return rhythm + drift + NOISE * torch.randn(count, hours, generator=generator)


class Forecaster(nn.Module):
    """Quarters of a day as tokens, two blocks, the last token to the next day; all relative to the last week's mean."""

    def __init__(self, metric: str, width: int = 64, patch: int = 6) -> None:
        super().__init__()
        attention = AttentionConfig(metric=metric, learnable_lambda=True)
        self.patch = patch
        self.embedding = nn.Linear(patch, width)
        self.positions = nn.Parameter(torch.randn(WEEK // patch, width) * 0.02)
        blocks = [TransformerEncoderBlock(width, 4, 128, 0.0, norm_first=True, attention=attention) for _ in range(2)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, DAY))

    def forward(self, week: Tensor) -> Tensor:
        """The next day ``[B, 24]`` after a week ``[B, 168]``."""
        mean = week.mean(1, keepdim=True)
        tokens = self.embedding((week - mean).unflatten(1, (-1, self.patch))) + self.positions
        return mean + self.head(self.blocks(tokens)[:, -1])


def pairs(values: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Weeks and the days after them, from every series at the given hours."""
    week = torch.stack([values[:, start : start + WEEK] for start in starts.tolist()], 1).flatten(0, 1)
    day = torch.stack([values[:, start + WEEK : start + WEEK + DAY] for start in starts.tolist()], 1).flatten(0, 1)
    return week, day


def train(metric: str, values: Tensor, *, steps: int, seed: int = 0) -> tuple[float, float]:
    """Mean absolute error on the held-out time, and seconds of training."""
    torch.manual_seed(seed)
    model = Forecaster(metric)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    begun = perf_counter()
    for _ in range(steps):
        week, day = pairs(values, torch.randint(cut(values) - WEEK - DAY, (4,)))
        loss = functional.l1_loss(model(week), day)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = perf_counter() - begun
    week, day = held_out(values)
    with torch.no_grad():
        return float(functional.l1_loss(model.eval()(week), day)), seconds


def cut(values: Tensor) -> int:
    """The hour at which the held-out time begins."""
    return values.shape[1] * 4 // 5


def held_out(values: Tensor) -> tuple[Tensor, Tensor]:
    """Weeks and days that lie wholly after the cut."""
    return pairs(values, torch.arange(cut(values), values.shape[1] - WEEK - DAY + 1, DAY))


def main(steps: int = 400) -> dict[str, float]:
    """Train both models, print and return the errors."""
    values = series()
    week, day = held_out(values)
    errors = {
        "noise alone": NOISE * math.sqrt(2 / math.pi),
        "week before": float(functional.l1_loss(week[:, :DAY], day)),
    }
    print(f"mean absolute error of {len(day)} held-out forecasts of a day after {steps} steps (one seed)")
    for name, error in errors.items():
        print(f"  {name:<12} {error:.3f}")
    for metric in ("dot", "cosine"):
        errors[metric], seconds = train(metric, values, steps=steps)
        print(f"  {metric:<12} {errors[metric]:.3f}   {seconds:.1f} s")
    return errors


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
