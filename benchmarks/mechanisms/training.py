"""One run of the training study: a small model with one attention, one task, one seed, one learning rate.

All arms have the same parameters, initial draws but for the key projection (tied or independent), data, steps and
schedule: Adam, linear warm-up over a twentieth of the steps, linear decay to a tenth, gradients clipped at norm 1. λ is
learned in every arm, the dot product's too.
"""

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from time import process_time
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from heed.attention import AttentionConfig, AttentionModel, ModelConfig, analyze
from tasks import IGNORED, TASKS, Task

VERSION = 1
"""Raise it when what a run does changes: results of other versions are not used."""

STEPS = {"recall": 600, "bytes": 400}
LOOKS = 20
"""How often a run is judged on held-out data."""

_BETAS = (1.0, 32.0)
"""β of the smooth Chebyshev distance, first and last step, rising geometrically."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to attend: the factors of the study."""

    metric: str
    scale: str = "unit_variance"
    init: str = "tied"
    lam: float = 1.0

    @property
    def label(self) -> str:
        """All factors in a line."""
        return f"{self.metric}, {self.scale}, {self.init}, λ0 {self.lam:g}"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run is determined by. ``whole``: it goes on to its last step even when the task is solved."""

    task: str
    arm: Arm
    rate: float
    seed: int = 0
    whole: bool = False
    steps: int = 0

    def __post_init__(self) -> None:
        if not self.steps:
            object.__setattr__(self, "steps", STEPS[self.task])

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The run that `asdict` wrote down."""
        return cls(**{**values, "arm": Arm(**values["arm"])})

    @property
    def key(self) -> str:
        """Hash of all of it, and of the version of this study."""
        values = {**asdict(self), "version": VERSION}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def model_config(arm: Arm, task: Task) -> ModelConfig:
    """The model of an arm: two layers, two heads of 32, about 100,000 parameters."""
    attention = AttentionConfig(
        metric=arm.metric,
        beta=_BETAS[0] if arm.metric == "smooth_chebyshev" else None,
        lambda_param=arm.lam,
        learnable_lambda=True,
        scale=arm.scale,
        init_qk=arm.init,
    )
    return ModelConfig(
        vocab_size=task.vocabulary,
        d_model=64,
        nhead=2,
        num_layers=2,
        dim_feedforward=128,
        positions="learned",
        max_positions=128,
        tie_embeddings=False,
        attention=attention,
    )


def new_model(run: Run) -> AttentionModel:
    """The model of a run; positions start N(0, 1) like what the embedding gives, so that neither drowns the other."""
    torch.manual_seed(run.seed)
    model = AttentionModel(model_config(run.arm, TASKS[run.task]))
    nn.init.normal_(model.positions.weight)
    return model


def learn(run: Run) -> dict[str, Any]:
    """Train and judge: figures, steps to the threshold, entropy and λ by layer, seconds; or how it failed."""
    task = TASKS[run.task]
    model = new_model(run)
    optimizer = torch.optim.Adam(model.parameters(), lr=run.rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, run.steps))
    batches, held_out = Generator().manual_seed(1000 + run.seed), task.held_out()
    curve: list[tuple[int, float]] = []
    losses: list[float] = []
    reached, started = None, process_time()
    for step in range(1, run.steps + 1):
        if run.arm.metric == "smooth_chebyshev" and step % (run.steps // LOOKS) == 1:
            _anneal(model, step / run.steps)
        losses.append(_step(model, optimizer, *task.batch(batches)))
        schedule.step()
        if losses[-1] != losses[-1]:
            return {"failure": f"the loss is not finite at step {step}", "curve": curve}
        if step % (run.steps // LOOKS) == 0:
            curve.append((step, judge(model, task, held_out)))
            reached = reached or (step if task.reached(curve[-1][1]) else None)
            if reached and not run.whole and task.name == "recall" and curve[-1][1] >= 0.99:
                break
    return {
        "figure": curve[-1][1],
        "reached": reached,
        "loss": statistics.fmean(losses[-run.steps // LOOKS :]),
        "curve": curve,
        "steps": step,
        "seconds": round(process_time() - started, 2),
        **_attention(model, held_out),
    }


def judge(model: AttentionModel, task: Task, held_out: list[tuple[Tensor, Tensor]]) -> float:
    """Mean figure of the held-out batches."""
    model.eval()
    with torch.no_grad():
        figures = [task.judged(model(ids), targets) for ids, targets in held_out]
    model.train()
    return statistics.fmean(figures)


def _step(model: AttentionModel, optimizer: torch.optim.Optimizer, ids: Tensor, targets: Tensor) -> float:
    loss = functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=False)
    optimizer.step()
    return float(loss.detach())


def _rate(steps: int, step: int) -> float:
    """Share of the learning rate: warm-up, then down to a tenth."""
    warm = max(1, steps // 20)
    return min((step + 1) / warm, 1 - 0.9 * max(0, step - warm) / (steps - warm))


def _anneal(model: AttentionModel, done: float) -> None:
    first, last = _BETAS
    for block in model.blocks:
        block.self_attn.mechanism.set_beta(first * (last / first) ** done)


def _attention(model: AttentionModel, held_out: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Mean entropy in nats of each layer's rows on held-out data, and λ by layer and head."""
    found = analyze(model, [held_out[0][0][:32]], num_samples=32)
    lams = [block.self_attn.mechanism.lam() for block in model.blocks]
    return {
        "entropy": [round(float(layer.entropy.mean()), 3) for layer in found.layers],
        "lambda": [[round(value, 3) for value in lam.tolist()] for lam in lams],
    }
