"""What a change of metric does to a trained model, before anybody trains it again: its perplexity, before and after."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from heed.errors import InputError
from heed.interface.distance import DistanceConfig
from heed.interface.install import HoldsModel, hf_of, install, uninstall

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class SwapReport:
    """Perplexity of one text under the model's own attention and under another metric, without any training.

    ``uniform`` is the size of the vocabulary, the perplexity of guessing: a swapped model is often worse than that.
    """

    config: DistanceConfig
    before: float
    after: float
    uniform: int
    tokens: int
    """How many tokens were predicted."""

    def __str__(self) -> str:
        return (
            f"perplexity {self.before:,.2f} as it was, {self.after:,.2f} with {self.config.metric}, not trained again "
            f"({self.tokens:,} tokens; guessing: {self.uniform:,})"
        )


def compare_perplexity(
    model: "PreTrainedModel | HoldsModel", ids: Int[Tensor, "B S"], metric: str = "l1", **options: Any
) -> SwapReport:
    """Measure a causal language model before and after `install`, and put it back.

    Parameters
    ----------
    ids
        Token ids without padding, each row a text of at least two tokens; one row is run at a time.
    metric, options
        As for `install`.

    Raises
    ------
    InputError
        If there is nothing to predict, or as `install`.
    UnsupportedModelError
        As `install`.
    """
    if ids.ndim != 2 or ids.shape[0] < 1 or ids.shape[1] < 2:
        raise InputError(f"ids: expected [B, S] with texts of at least two tokens, found {tuple(ids.shape)}")
    hf = hf_of(model)
    training = [module for module in hf.modules() if module.training]
    hf.eval()  # type: ignore[no-untyped-call]
    try:
        before = _perplexity(hf, ids)
        config = install(model, metric, **options)
        try:
            after = _perplexity(hf, ids)
        finally:
            uninstall(model)
    finally:
        for module in training:
            module.training = True
    vocabulary = int(hf.config.get_text_config().vocab_size)
    return SwapReport(config, before, after, vocabulary, ids.shape[0] * (ids.shape[1] - 1))


@torch.no_grad()
def _perplexity(hf: Any, ids: Tensor) -> float:
    """Exponential of the mean negative log likelihood, in nats a token."""
    total = 0.0
    for row in ids.to(hf.device):
        logits = hf(input_ids=row[None], use_cache=False).logits[0, :-1].float()
        total += float(functional.cross_entropy(logits, row[1:], reduction="sum"))
    mean = total / (ids.shape[0] * (ids.shape[1] - 1))
    return math.exp(mean) if mean < 700 else math.inf
