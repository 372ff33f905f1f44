"""L2 attention on images: a small vision transformer that reads handwritten digits, or generated shapes.

    python examples/attention/images_l2.py

The digits are the 1,797 images of 8 × 8 pixels that come with scikit-learn; where it is not installed, circles,
squares, crosses and bars with noise are drawn instead, and the output says so. A third of the images is held out.
Beside the two metrics stands the share of the most frequent class.
"""

import sys
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional

from heed.attention import AttentionConfig, TransformerEncoderBlock

PATCH = 2


class VisionTransformer(nn.Module):
    """Patches of an image as tokens, two blocks, the mean of the tokens to a class (Dosovitskiy et al. 2021)."""

    def __init__(self, metric: str, size: int, classes: int, width: int = 64) -> None:
        super().__init__()
        attention = AttentionConfig(metric=metric, learnable_lambda=True)
        self.patches = nn.Conv2d(1, width, PATCH, PATCH)
        self.positions = nn.Parameter(torch.randn((size // PATCH) ** 2, width) * 0.02)
        blocks = [TransformerEncoderBlock(width, 4, 128, 0.0, norm_first=True, attention=attention) for _ in range(2)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of images ``[B, size, size]``."""
        tokens = self.patches(images[:, None]).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.blocks(tokens).mean(1))
        return logits


def digits() -> tuple[Tensor, Tensor] | None:
    """Images in [0, 1] and labels, or None without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return None
    found = load_digits()
    return torch.tensor(found.images, dtype=torch.float32) / 16, torch.tensor(found.target)


def shapes(count: int = 1200, size: int = 12) -> tuple[Tensor, Tensor]:
    """Four kinds of shape at random places and sizes, under noise of half their brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    centre = size / 2 + 3 * (torch.rand(count, 2, 1, 1, generator=generator) - 0.5)
    radius = 2 + 2 * torch.rand(count, 1, 1, generator=generator)
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    down, right = (row - centre[:, 0]).abs(), (column - centre[:, 1]).abs()
    inside = torch.maximum(down, right) <= radius
    drawn = (
        (down**2 + right**2).sqrt() <= radius,
        inside,
        inside & (torch.minimum(down, right) <= 1),
        inside & (down <= 1),
    )
    images = torch.stack(drawn, 1)[torch.arange(count), labels].float()
    return images + 0.5 * torch.randn(images.shape, generator=generator), labels


def train(metric: str, images: Tensor, labels: Tensor, *, epochs: int, seed: int = 0) -> tuple[float, float]:
    """Accuracy on the last third of the images, and seconds of training."""
    torch.manual_seed(seed)
    model = VisionTransformer(metric, images.shape[-1], int(labels.max()) + 1)
    split = 2 * len(images) // 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * -(-split // 64))
    begun = perf_counter()
    for _ in range(epochs):
        for batch in torch.randperm(split).split(64):
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    seconds = perf_counter() - begun
    with torch.no_grad():
        right = model.eval()(images[split:]).argmax(-1) == labels[split:]
    return float(right.float().mean()), seconds


def main(epochs: int = 20, count: int | None = None) -> dict[str, float]:
    """Train both models on the first ``count`` images (None: all), print and return their accuracy."""
    found = digits()
    images, labels = shapes() if found is None else found
    images, labels = images[:count], labels[:count]
    split = 2 * len(images) // 3
    accuracy = {"most frequent": float((labels[split:] == labels[:split].mode().values).float().mean())}
    kind = "generated shapes (no scikit-learn here)" if found is None else "scikit-learn's digits"
    print(f"accuracy on {len(images) - split} held-out images of {kind}, {epochs} epochs (one seed)")
    print(f"  {'most frequent':<14} {accuracy['most frequent']:.3f}")
    for metric in ("dot", "l2"):
        accuracy[metric], seconds = train(metric, images, labels, epochs=epochs)
        print(f"  {metric:<14} {accuracy[metric]:.3f}   {seconds:.1f} s")
    return accuracy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
