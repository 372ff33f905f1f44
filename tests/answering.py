"""A tiny model that answers in letters, for tests that let it generate."""

from pathlib import Path

import torch

from heed.model import Model
from tiny import keen_model

LETTERS = "abcdefghijklmnopqrstuvwxyz .\n"


def answering_model(path: Path, *, stop: bool = False) -> Model:
    """The keen tiny model, whose head knows letters, blanks and full stops; it only ends by itself if it may stop."""
    model = keen_model(path)
    kept = {model.tokenizer.encode(letter)[0] for letter in LETTERS} | ({2} if stop else set())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        weight = model.hf.lm_head.weight
        weight.copy_(torch.randn(weight.shape, generator=generator))
        for token in set(range(len(weight))) - kept:
            weight[token] = 0.0
    return model
