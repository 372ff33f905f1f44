"""Run a model once over a batch while somebody listens: the forward pass itself, or greedy generation.

Under the model's lock, without gradients and without the language-model head (unless tokens are generated),
ended early where nothing deeper is wanted. Knows how models are called, not what is listened for.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn

from heed.errors import OutOfMemoryError
from heed.interface.call import Call
from heed.interface.session import active, listening, lock_of
from heed.model import Model
from heed.probe.batch import Batch

if TYPE_CHECKING:
    from transformers import DynamicCache


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """How a batch goes through a model.

    ``modules`` are listened to; the pass ends after ``last`` (None: it runs to its end). ``reused`` tokens at the
    start lie in ``cache`` already. ``target`` holds the decoder's tokens of an encoder-decoder model.
    """

    batch: Batch
    modules: frozenset[nn.Module]
    last: nn.Module | None = None
    reused: int = 0
    cache: "DynamicCache | None" = None
    target: Batch | None = None
    new_tokens: int = 0


def run_pass(
    model: Model,
    passage: Passage,
    observe: Callable[[Call], None],
    *,
    next_pass: Callable[[], None] | None = None,
) -> Int[Tensor, "B N"] | None:
    """Run, and return the ids the decoder was given or generated (None for a plain pass of one stack).

    ``next_pass`` is called before the prompt's pass and before that of each generated token.

    Raises
    ------
    UnsupportedModelError
        If the model cannot be read.
    OutOfMemoryError
        If the device has no memory left.
    """

    def hook(module: nn.Module, inputs: object) -> None:
        del module, inputs
        session = active()
        own = session is not None and session.observe is observe  # not another thread's pass of the same model
        if own and next_pass is not None:
            next_pass()

    handle = model.hf.base_model.register_forward_pre_hook(hook)
    ids = None
    try:
        with (
            lock_of(model.hf),
            memory_errors(model),
            torch.no_grad(),
            listening(model.hf, observe, modules=passage.modules, last=passage.last),
        ):
            ids = _generate(model, passage) if passage.new_tokens else _forward(model, passage)
    finally:
        handle.remove()
    return ids


@contextmanager
def memory_errors(model: Model) -> Iterator[None]:
    """Turn a device's out-of-memory error into heed's."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        plain = not isinstance(error, torch.OutOfMemoryError | MemoryError)
        if plain and "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemoryError(
            f"expected memory for one pass of {model.name} on {model.device}, found none left: "
            "use a shorter text, fewer prompts at once, or a narrower dtype"
        ) from error


def pad_id(model: Model) -> int:
    """The id that fills padded places; no real token ever sees it."""
    tokenizer = model.tokenizer
    token = None if tokenizer is None else tokenizer.pad_token_id
    if token is None:
        token = getattr(model.hf.config, "pad_token_id", None)
    return int(token) if token is not None else 0


def _forward(model: Model, passage: Passage) -> Tensor | None:
    arguments = _arguments(model, passage)
    model.hf.base_model(input_ids=passage.batch.ids[:, passage.reused :], **arguments)
    return arguments.get("decoder_input_ids")


def _arguments(model: Model, passage: Passage) -> dict[str, Any]:
    batch, encoder_decoder = passage.batch, model.anatomy.encoder_decoder
    arguments: dict[str, Any] = {"use_cache": passage.cache is not None}
    if batch.padded:
        arguments["attention_mask"] = batch.real()
        if batch.padding == "left" and not encoder_decoder and not model.anatomy.places_itself:
            arguments["position_ids"] = batch.position_ids()
    if passage.cache is not None:
        arguments["past_key_values"] = passage.cache
    if encoder_decoder:
        start = torch.full((len(batch.prompts), 1), start_id(model.hf.config), device=batch.ids.device)
        rest = [] if passage.target is None else [passage.target.ids]
        arguments["decoder_input_ids"] = torch.cat([start, *rest], 1)
    return arguments


def start_id(config: Any) -> int:
    """The token a decoder starts from: transformers' own order of preference."""
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    found: Mapping[str, int | None] = {name: getattr(config, name, None) for name in names}
    return next((token for token in found.values() if token is not None), 0)


def _generate(model: Model, passage: Passage) -> Tensor:
    ids, hf = passage.batch.ids, cast("Any", model.hf)
    with _greedy(hf, pad_id(model)):
        out: Tensor = hf.generate(input_ids=ids, attention_mask=passage.batch.real(), max_new_tokens=passage.new_tokens)
    return out if model.anatomy.encoder_decoder else out[:, ids.shape[1] :]


@contextmanager
def _greedy(hf: Any, pad: int) -> Iterator[None]:
    """Plain greedy decoding: the model's own beams, penalties and kind of cache are set aside, its tokens kept."""
    own = hf.generation_config
    names = ("bos_token_id", "eos_token_id", "decoder_start_token_id")
    kept = {name: getattr(own, name) for name in names if getattr(own, name) is not None}
    hf.generation_config = type(own)(**kept, pad_token_id=pad, do_sample=False)
    try:
        yield
    finally:
        hf.generation_config = own
