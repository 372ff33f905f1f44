"""The published way to read attention for guarding, written anew from its description: what heed is measured against.

After the Attention Tracker (Hung et al. 2024, arXiv 2411.00348) as its code works: eager attention, every map of
every layer returned and moved to the CPU as fp16, logits of all positions, one prompt at a time, no cache, the chat
template's text tokenised again, parts found by counting tokens from both ends. Of the maps the last row is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_BEFORE, _AFTER = 3, 5
"""Tokens before the instruction and after the data in ChatML: the published way counts them, model by model."""


@dataclass(frozen=True, slots=True, eq=False)
class PublishedReading:
    """Mass of the last row on instruction and data, ``[L, H]`` each; and what it took."""

    own: np.ndarray
    other: np.ndarray
    next_token: int
    map_bytes: int
    """Bytes of the maps on the CPU, all alive at once."""


class PublishedWay:
    """Scores prompts one by one; ``heads`` are the ``(layer, head)`` that count, None: all."""

    def __init__(self, hf: Any, tokenizer: Any = None, *, heads: Sequence[Sequence[int]] | None = None) -> None:
        hf.set_attn_implementation("eager")
        self.hf = hf
        self.tokenizer = tokenizer
        self.heads = heads

    def check(self, instruction: str, data: str) -> float:
        """The focus score: the mean share of attention that stays on the instruction."""
        return self.score(self.read(*self.encode(instruction, data)))

    def encode(self, instruction: str, data: str) -> tuple[torch.Tensor, slice, slice]:
        """Token ids ``[1, T]`` of the rendered prompt, and where instruction and data are held to be."""
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": f"Data: {data}"}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        n_own, n_other = len(self.tokenizer.encode(instruction)), len(self.tokenizer.encode(data))
        end = ids.shape[1] - _AFTER
        return ids, slice(_BEFORE, _BEFORE + n_own), slice(end - n_other, end)

    def read(self, ids: torch.Tensor, own: slice, other: slice) -> PublishedReading:
        """One generated token: the whole pass with all maps, and the last row of each."""
        with torch.no_grad():
            out = self.hf(input_ids=ids, output_attentions=True, use_cache=False)
        next_token = int(out.logits[0, -1].argmax())
        maps = [one.detach().cpu().half() for one in out.attentions]
        rows = torch.stack([one[0, :, -1].float() for one in maps])
        return PublishedReading(
            own=rows[:, :, own].sum(-1).numpy(),
            other=rows[:, :, other].sum(-1).numpy(),
            next_token=next_token,
            map_bytes=sum(one.numel() * one.element_size() for one in maps),
        )

    def score(self, reading: PublishedReading) -> float:
        """The mean over heads of ``own / (own + other)``."""
        shares = reading.own / (reading.own + reading.other + 1e-8)
        if self.heads is None:
            return float(shares.mean())
        places = np.asarray(self.heads)
        return float(shares[places[:, 0], places[:, 1]].mean())
