"""What the training study learns: associative recall, and the bytes of a text that ships with Python.

Recall (after Arora et al. 2023, arXiv 2312.04927, written anew): a few key-value pairs, then keys of theirs again, each
followed by its value; the loss counts where a key asks for its value. Who attends to all pairs alike guesses one of the
values shown: the chance level is 1/pairs. Text: `pydoc_data.topics`, the help texts of the Python that runs, with every
tenth topic kept for validation.
"""

import hashlib
import math
import platform
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional

IGNORED = -100
"""Target where no loss counts."""


class Task(Protocol):
    """Batches to learn from, a fixed set to judge by, and a figure with a threshold."""

    name: str
    vocabulary: int
    figure: str
    threshold: float

    def batch(self, generator: Generator) -> tuple[Int[Tensor, "B S"], Int[Tensor, "B S"]]:
        """Token ids and targets."""
        ...

    def held_out(self) -> list[tuple[Int[Tensor, "B S"], Int[Tensor, "B S"]]]:
        """Batches nothing is learned from, the same for all runs."""
        ...

    def judged(self, logits: Float[Tensor, "B S V"], targets: Int[Tensor, "B S"]) -> float:
        """The figure of a held-out batch."""
        ...

    def reached(self, figure: float) -> bool:
        """Whether a figure is as good as the threshold."""
        ...

    def facts(self) -> dict[str, object]:
        """What identifies the data."""
        ...


@dataclass(frozen=True)
class Recall:
    """Key-value pairs and questions; the figure is the share of questions answered."""

    pairs: int = 4
    questions: int = 8
    symbols: int = 32
    size: int = 32

    name: ClassVar[str] = "recall"
    figure: ClassVar[str] = "accuracy"
    threshold: ClassVar[float] = 0.9

    @property
    def vocabulary(self) -> int:
        """Keys are below ``symbols``, values above."""
        return 2 * self.symbols

    def batch(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """``pairs`` different keys with values, then ``questions`` of them in any order, with repeats."""
        return self._draw(generator, self.size)

    def held_out(self) -> list[tuple[Tensor, Tensor]]:
        """512 sequences: 4,096 questions."""
        return [self._draw(Generator().manual_seed(-1), 512)]

    def judged(self, logits: Tensor, targets: Tensor) -> float:
        """Accuracy, 0 to 1."""
        asked = targets != IGNORED
        return float((logits.argmax(-1) == targets)[asked].float().mean())

    def reached(self, figure: float) -> bool:
        """At or above the threshold."""
        return figure >= self.threshold

    def facts(self) -> dict[str, object]:
        """Sizes of the sequences."""
        return {"pairs": self.pairs, "questions": self.questions, "symbols": self.symbols, "batch": self.size}

    def _draw(self, generator: Generator, size: int) -> tuple[Tensor, Tensor]:
        keys = torch.rand(size, self.symbols, generator=generator).argsort(-1)[:, : self.pairs]
        values = torch.randint(self.symbols, self.vocabulary, (size, self.pairs), generator=generator)
        asked = torch.randint(0, self.pairs, (size, self.questions), generator=generator)
        first = torch.stack([keys, values], -1)
        then = torch.stack([keys.gather(1, asked), values.gather(1, asked)], -1)
        ids = torch.cat([first, then], 1).flatten(1)
        targets = torch.full_like(ids, IGNORED)
        targets[:, 2 * self.pairs :: 2] = values.gather(1, asked)
        return ids, targets


@dataclass(frozen=True)
class ByteText:
    """Bytes of the help texts; the figure is bits per byte of the topics held out.

    The threshold is what counting pairs of bytes reaches (0.1 added to each count): below it, context is used.
    """

    context: int = 128
    size: int = 8

    name: ClassVar[str] = "bytes"
    figure: ClassVar[str] = "bits per byte"
    vocabulary: ClassVar[int] = 256

    @cached_property
    def threshold(self) -> float:
        """Bits per byte of the model that counts pairs."""
        learned, kept = self._texts
        counts = torch.full((256, 256), 0.1)
        counts.index_put_((learned[:-1], learned[1:]), torch.ones(len(learned) - 1), accumulate=True)
        shares = counts / counts.sum(1, keepdim=True)
        return float(-shares[kept[:-1], kept[1:]].log2().mean())

    def batch(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Stretches from anywhere in the text."""
        learned, _ = self._texts
        starts = torch.randint(0, len(learned) - self.context, (self.size,), generator=generator)
        return _shifted(torch.stack([learned[start : start + self.context + 1] for start in starts.tolist()]))

    def held_out(self) -> list[tuple[Tensor, Tensor]]:
        """The first 128 stretches of the topics held out."""
        kept = self._texts[1].unfold(0, self.context + 1, self.context)[:128]
        return [_shifted(part) for part in kept.split(32)]

    def judged(self, logits: Tensor, targets: Tensor) -> float:
        """Bits per byte."""
        return float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten())) / math.log(2)

    def reached(self, figure: float) -> bool:
        """At or below the threshold."""
        return figure <= self.threshold

    def facts(self) -> dict[str, object]:
        """Which text this is; it differs between versions of Python."""
        learned, kept = self._texts
        whole = hashlib.sha256(bytes(learned.tolist()) + bytes(kept.tolist())).hexdigest()[:12]
        sizes = {"context": self.context, "batch": self.size, "learned bytes": len(learned), "kept bytes": len(kept)}
        return {**sizes, "sha256": whole, "python": platform.python_version()}

    @cached_property
    def _texts(self) -> tuple[Tensor, Tensor]:
        from pydoc_data.topics import topics

        texts = [topics[name] for name in sorted(topics)]
        kept = "".join(texts[::10])
        learned = "".join(text for number, text in enumerate(texts) if number % 10)
        return _bytes(learned), _bytes(kept)


def _bytes(text: str) -> Int[Tensor, " N"]:
    return torch.tensor(list(text.encode()), dtype=torch.int64)


def _shifted(ids: Int[Tensor, "B n"]) -> tuple[Tensor, Tensor]:
    return ids[:, :-1], ids[:, 1:]


TASKS: dict[str, Task] = {task.name: task for task in (Recall(), ByteText())}
"""The tasks by name."""
