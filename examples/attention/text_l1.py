"""L1 attention on text: a small language model over bytes, on the help texts that ship with Python.

    python examples/attention/text_l1.py

Two models that differ in nothing but the metric are trained on the same windows; the loss is measured on topics that
neither saw. Beside them stands the entropy of single bytes, what a model without any attention must beat.
"""

import sys
from pydoc_data.topics import topics
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional

from heed.attention import AttentionConfig, AttentionModel, ModelConfig


def corpus() -> tuple[Tensor, Tensor]:
    """Bytes for training and, of every eighth topic, for validation."""
    names = sorted(topics)
    parts = ["\n\n".join(topics[n] for i, n in enumerate(names) if (i % 8 == 0) == held) for held in (False, True)]
    train, held_out = (torch.tensor(list(part.encode()), dtype=torch.int64) for part in parts)
    return train, held_out


def windows(text: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """Stretches of ``length`` + 1 bytes, ``[count, length + 1]``."""
    starts = torch.randint(len(text) - length, (count, 1), generator=generator)
    return text[starts + torch.arange(length + 1)]


def bits_per_byte(model: AttentionModel, batch: Tensor) -> Tensor:
    """Mean surprise at the next byte."""
    logits = model(batch[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()) / torch.log(torch.tensor(2.0))


def train(metric: str, *, steps: int, length: int, seed: int = 0) -> tuple[float, float]:
    """Bits per byte on the held-out topics, and seconds of training."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    attention = AttentionConfig(metric=metric, learnable_lambda=True)
    config = ModelConfig(
        vocab_size=256, d_model=64, nhead=4, dim_feedforward=256, tie_embeddings=False, attention=attention
    )
    model = AttentionModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    text, held_out = corpus()
    begun = perf_counter()
    for _ in range(steps):
        loss = bits_per_byte(model, windows(text, 16, length, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = perf_counter() - begun
    with torch.no_grad():
        return float(bits_per_byte(model.eval(), windows(held_out, 64, length, generator))), seconds


def main(steps: int = 300, length: int = 128) -> dict[str, float]:
    """Train both models, print and return their bits per byte."""
    counts = torch.bincount(corpus()[0], minlength=256).double()
    share = counts[counts > 0] / counts.sum()
    found = {"single bytes": float(-(share * share.log2()).sum())}
    print(f"held-out bits per byte after {steps} steps of 16 windows of {length} bytes (one seed)")
    print(f"  {'single bytes':<13} {found['single bytes']:.3f}")
    for metric in ("dot", "l1"):
        found[metric], seconds = train(metric, steps=steps, length=length)
        print(f"  {metric:<13} {found[metric]:.3f}   {seconds:.1f} s")
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
