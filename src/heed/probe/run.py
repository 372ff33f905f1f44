"""One forward pass with probes: a model and encoded prompts come in, a torch-free `Reading` goes out.

The pass ends after the deepest wanted layer. What a reading is for is not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from jaxtyping import Bool, Float, Int

from heed.errors import InputError, TooLongError
from heed.interface.session import lock_of
from heed.model import Model
from heed.probe.batch import Batch, Padding
from heed.probe.forward import Passage, pad_id, run_pass
from heed.probe.layers import layers_of
from heed.probe.listener import Listener
from heed.probe.prefix import PrefixCache
from heed.probe.probes import Probe
from heed.probe.view import LayerKey, usual
from heed.text.encode import Encoded
from heed.text.span import TokenSpan


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What probes kept of one pass, without torch.

    ``steps[n][name][key]`` is what the probe ``name`` gave for layer ``key``: for the prompt at ``n = 0``, for the
    pass over the ``n``-th generated token after it.
    """

    layers: tuple[LayerKey, ...]
    steps: tuple[Mapping[str, Mapping[LayerKey, np.ndarray]], ...]
    seconds: float
    finite: Bool[np.ndarray, " B"]
    """Whether no key and no reading of a prompt was NaN or infinite: a kernel may turn such rows into zeros."""
    reused_tokens: int = 0
    """Tokens at the start of each prompt that came from the prefix cache."""
    generated: Int[np.ndarray, "B N"] | None = None
    """Generated ids, where generation was asked for."""

    def stack(self, name: str, step: int = 0) -> Float[np.ndarray, "B L ..."]:
        """A probe's values with the layers side by side on axis 1."""
        values = self.steps[step][name]
        return np.stack([values[key] for key in self.layers], axis=1)


def read(
    model: Model,
    prompts: Sequence[Encoded],
    probes: Mapping[str, Probe],
    *,
    layers: Sequence[LayerKey] | None = None,
    spans: Sequence[Sequence[TokenSpan]] | None = None,
    padding: Padding = "right",
    prefix: PrefixCache | None = None,
    new_tokens: int = 0,
    targets: Sequence[Encoded] | None = None,
) -> Reading:
    """Run the model once over the prompts and keep what the probes say.

    Parameters
    ----------
    layers
        Which layers to probe; by default all, or in an encoder-decoder all cross-attention. The pass ends after
        the deepest of them.
    spans
        For each prompt the token spans that mass probes sum over, the same number for all; in an encoder-decoder
        they lie in the encoder's text.
    padding
        The side on which shorter prompts are padded.
    prefix
        Keeps the common beginning of prompts between reads (with right padding, and not while generating).
    new_tokens
        Generate greedily up to this many tokens and probe each pass.
    targets
        For encoder-decoder models the decoder's tokens; its start token alone by default.

    Raises
    ------
    TooLongError
        If a prompt does not fit the model's context.
    UnsupportedModelError
        If the model cannot be read exactly.
    OutOfMemoryError
        If the device has no memory left.
    """
    started = perf_counter()
    check_length(model, [*prompts, *(targets or [])], new_tokens)
    known = layers_of(model)
    wanted = tuple(layers) if layers is not None else usual(known.keys)
    batch = Batch.of(prompts, pad_id=pad_id(model), padding=padding, device=model.device)
    target = None if targets is None else Batch.of(targets, pad_id=pad_id(model), device=model.device)
    _refuse_layers(model, wanted, known.keys, spans=spans is not None, generating=new_tokens > 0)
    _refuse_batch(batch, probes, prefix=prefix is not None, generating=new_tokens > 0)
    members = batch.members(spans if spans is not None else [[]] * len(prompts), extra=new_tokens)
    listener = Listener.of(model, wanted, probes, members=members, batch=batch, target=target)
    passage = Passage(batch, frozenset(listener.keys), target=target, new_tokens=new_tokens)
    tail = max((getattr(probe, "last_rows", 0) for probe in probes.values()), default=0)
    reused, ids = _pass(model, listener, passage, prefix, tail)
    listener.check()
    seconds = perf_counter() - started
    return Reading(wanted, tuple(listener.steps), seconds, listener.finite(), reused, ids)


def _pass(
    model: Model, listener: Listener, passage: Passage, prefix: PrefixCache | None, tail: int
) -> tuple[int, Int[np.ndarray, "B N"] | None]:
    """Run it; how many tokens came from the prefix cache, and what was generated."""
    if passage.new_tokens:
        ids = run_pass(model, passage, listener.hear, next_pass=listener.next_pass)
        return 0, None if ids is None else ids.cpu().numpy()
    known, wanted = layers_of(model), tuple(listener.keys.values())
    last = known.last_of(wanted)
    with lock_of(model.hf):
        reused, cache = 0, None
        if prefix is not None and passage.batch.padding == "right":
            prompts = [prompt.ids for prompt in passage.batch.prompts]
            reused, cache = prefix.start(model, prompts, last=last, tail=tail)
        whole = replace(passage, last=known.modules[last], reused=reused, cache=cache)
        run_pass(model, whole, listener.hear, next_pass=listener.next_pass)
    return reused, None


def check_length(model: Model, prompts: Sequence[Encoded], new_tokens: int = 0) -> None:
    """Refuse prompts that do not fit the context, instead of cutting them.

    Raises
    ------
    TooLongError
        With the number of tokens found and the number that fits.
    """
    longest = max((len(prompt) for prompt in prompts), default=0) + new_tokens
    if model.context is not None and longest > model.context:
        raise TooLongError(
            f"expected at most {model.context} tokens (the context of {model.name}), found {longest}: "
            "shorten the text or split it"
        )


def _refuse_layers(
    model: Model, wanted: Sequence[LayerKey], known: Sequence[LayerKey], *, spans: bool, generating: bool
) -> None:
    unknown = [str(key) for key in wanted if key not in known]
    if unknown or not wanted:
        raise InputError(
            f"expected layers among {known[0]} … {known[-1]}, found {', '.join(unknown) or 'none'}: name others"
        )
    if generating and any(key.stack == "encoder" for key in wanted):
        raise InputError("expected decoder layers while generating, found encoder layers: read them without new_tokens")
    own = any((key.stack, key.kind) == ("decoder", "self") for key in wanted)
    if spans and own and model.anatomy.encoder_decoder:
        raise InputError(
            "expected encoder or cross-attention layers, found decoder layers: spans lie in the encoder's text"
        )


def _refuse_batch(batch: Batch, probes: Mapping[str, Probe], *, prefix: bool, generating: bool) -> None:
    if generating and batch.padded and batch.padding == "right":
        raise InputError("expected left padding to generate from prompts of several lengths, found right padding")
    whole = [name for name, probe in probes.items() if not getattr(probe, "last_rows", 0)]
    if prefix and whole:
        raise InputError(
            f"expected probes of the last row with a prefix cache, found {', '.join(whole)}: earlier rows are not "
            "computed again; read without prefix"
        )
