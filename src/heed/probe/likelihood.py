"""How likely a model finds a text that stands in a prompt already: log-probabilities, a stretch of rows at a time.

The prompt up to the wanted rows goes through the model without its head, into a cache; the rows follow through the
head, a block after the other, just as when the model generates. Of the size rows x vocabulary only a block exists.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heed.errors import InputError, UnsupportedModelError
from heed.interface.cache import empty_cache
from heed.interface.session import lock_of
from heed.model import Model
from heed.probe.forward import memory_errors
from heed.probe.layers import layers_of
from heed.probe.prefix import PrefixCache
from heed.probe.run import check_length
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

_BLOCK_ELEMENTS = 1 << 22
"""Most numbers of a block of distributions: 16 MiB of fp32, 85 rows of 49,152 words."""


def token_logprobs(
    model: Model, prompt: Encoded, span: TokenSpan, *, prefix: PrefixCache | None = None
) -> Float[np.ndarray, " N"]:
    """Natural log-probability of each token of a stretch of the prompt, given all tokens before it; at most 0, fp32.

    Their sum is the log-likelihood of the stretch under its prompt. ``prefix`` keeps the common beginning of prompts
    between calls, where the model lets it be kept.

    Raises
    ------
    InputError
        If the stretch is empty, leaves the prompt or holds its first token, which nothing precedes.
    TooLongError
        If the prompt does not fit the model's context.
    UnsupportedModelError
        If the model is no decoder with a head over a vocabulary.
    OutOfMemoryError
        If the device has no memory left.
    """
    if not 0 < span.start < span.end <= len(prompt):
        raise InputError(
            f"expected tokens behind the first of a prompt of {len(prompt)}, found {span.start}..{span.end}: "
            "name a stretch of it with at least one token before it"
        )
    wanted = torch.from_numpy(prompt.ids[span.slice()]).to(model.device)
    parts = []
    for block in _logits(model, prompt, span.shift(-1), prefix):
        own, wanted = wanted[: len(block)], wanted[len(block) :]
        parts.append((block.gather(1, own[:, None])[:, 0] - block.logsumexp(1)).cpu().numpy())
    return np.concatenate(parts)


def next_token_divergence(
    model: Model, prompt: Encoded, rows: TokenSpan, other: Encoded, other_rows: TokenSpan
) -> Float[np.ndarray, " Q"]:
    """How differently two prompts go on: ``KL(P || P')`` in nats, at least 0, of the token after each pair of rows.

    ``P`` is the distribution of the token after a row of ``prompt``, ``P'`` that after the same row of ``other``. Both
    prompts run side by side, a block of rows of each at a time.

    Raises
    ------
    InputError
        If there is no row, rows leave their prompt, or their numbers differ.
    TooLongError, UnsupportedModelError, OutOfMemoryError
        As `token_logprobs`.
    """
    for one, own in ((prompt, rows), (other, other_rows)):
        if not own or own.end > len(one) or len(own) != len(rows):
            raise InputError(
                f"expected {len(rows)} rows (at least one) of a prompt of {len(one)} tokens, found "
                f"{own.start}..{own.end}: compare the tokens of one text in two prompts"
            )
    blocks = zip(_logits(model, prompt, rows, None), _logits(model, other, other_rows, None), strict=True)
    return np.concatenate([_divergence(*pair).cpu().numpy() for pair in blocks])


def _divergence(logits: Float[Tensor, "n V"], others: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
    logs, terms = logits.log_softmax(1), others.log_softmax(1)
    terms = logs.sub(terms).mul_(logs.exp()).masked_fill_(logs == -torch.inf, 0.0)
    return terms.sum(1).clamp_min_(0.0)


def _logits(
    model: Model, prompt: Encoded, rows: TokenSpan, prefix: PrefixCache | None
) -> Iterator[Float[Tensor, "n V"]]:
    """fp32 logits of rows, block by block; the model is locked for each block, not between them."""
    hf: Any = model.hf
    if model.anatomy.encoder_decoder or hf.get_output_embeddings() is None:
        raise UnsupportedModelError(
            f"expected a decoder with a head over its vocabulary, found {type(hf).__name__}: it predicts no next token"
        )
    check_length(model, [prompt])
    known = layers_of(model)
    cached, cache = 0, None
    if prefix is not None:
        last = known.last_of(known.keys)
        cached, cache = prefix.start(model, [prompt.ids], last=last, tail=len(prompt) - rows.start)
    cache = empty_cache(hf) if cache is None else cache
    ids = torch.from_numpy(prompt.ids)[None].to(model.device)
    if cached < rows.start:
        with lock_of(hf), memory_errors(model), torch.no_grad():
            hf.base_model(input_ids=ids[:, cached : rows.start], past_key_values=cache, use_cache=True)
    step = max(1, _BLOCK_ELEMENTS // int(hf.config.get_text_config().vocab_size))
    for first in range(rows.start, rows.end, step):
        block = ids[:, first : min(first + step, rows.end)]
        with lock_of(hf), memory_errors(model), torch.no_grad():
            logits = hf(input_ids=block, past_key_values=cache, use_cache=True).logits[0].float()
        yield logits
