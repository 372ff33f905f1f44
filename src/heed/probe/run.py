"""One forward pass with probes: a model and encoded prompts come in, a torch-free `Reading` goes out.

The pass ends after the deepest wanted layer. What a reading is for is not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from heed.attention.terms import Terms
from heed.errors import InputError, TooLongError, UnsupportedModelError
from heed.interface.call import Call
from heed.interface.session import lock_of
from heed.model import Model
from heed.probe.batch import Batch, Padding
from heed.probe.forward import Passage, pad_id, run_pass
from heed.probe.layers import layers_of
from heed.probe.prefix import PrefixCache
from heed.probe.probes import Moment, Probe
from heed.probe.view import LayerKey, LayerView, Stack, usual
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
        Keeps the common beginning of prompts between reads.
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
    _refuse_unknown(wanted, known.keys)
    batch = Batch.of(prompts, pad_id=pad_id(model), padding=padding, device=model.device)
    target = None if targets is None else Batch.of(targets, pad_id=pad_id(model), device=model.device)
    if new_tokens:
        _refuse_generation(batch, wanted)
    if spans is not None and model.anatomy.encoder_decoder:
        _refuse_decoder_spans(wanted)
    if prefix is not None:
        _refuse_whole_rows(probes)
    listener = _Listener(
        {known.modules[key]: key for key in wanted},
        probes,
        batch.members(spans if spans is not None else [[]] * len(prompts), extra=new_tokens),
        {"encoder": batch.last_rows(), "decoder": _decoder_rows(model, batch, target)},
        {"encoder": _real_rows(batch), "decoder": _real_decoder_rows(model, batch, target)},
    )
    last = known.last_of(wanted)
    with lock_of(model.hf):
        reused, cache = 0, None
        if prefix is not None and padding == "right" and not new_tokens:
            reused, cache = prefix.start(model, [prompt.ids for prompt in prompts], last=last)
        passage = Passage(
            batch,
            frozenset(listener.keys),
            last=None if new_tokens else known.modules[last],
            reused=reused,
            cache=cache,
            target=target,
            new_tokens=new_tokens,
        )
        generated = run_pass(model, passage, listener.hear, next_pass=listener.next_pass)
    listener.check()
    ids = generated.cpu().numpy() if generated is not None and new_tokens else None
    seconds = perf_counter() - started
    return Reading(wanted, tuple(listener.steps), seconds, listener.finite(), reused, ids)


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


@dataclass(slots=True, eq=False)
class _Listener:
    """Collects what the probes say, pass by pass, and checks that no wanted layer is heard twice or missing."""

    keys: Mapping[nn.Module, LayerKey]
    probes: Mapping[str, Probe]
    members: Tensor
    rows: Mapping[Stack, Tensor]
    real: Mapping[Stack, Tensor | None]
    steps: list[dict[str, dict[LayerKey, np.ndarray]]] = field(default_factory=list)
    sums: list[Tensor] = field(default_factory=list)

    def next_pass(self) -> None:
        self.steps.append({name: {} for name in self.probes})

    def hear(self, call: Call) -> None:
        key, step = self.keys[call.module], self.steps[-1]
        if any(key in values for values in step.values()):
            raise UnsupportedModelError(f"expected one attention call a layer and pass, found two for {key}")
        view, moment = LayerView(key, call.q, call.k, self._terms(key, call), call.lse), self._moment(key)
        self.sums.append(call.k.sum((1, 2, 3), dtype=torch.float32))
        for name, probe in self.probes.items():
            value = probe(view, moment).float()
            self.sums.append(value.flatten(1).sum(1))
            step[name][key] = value.cpu().numpy()

    def finite(self) -> Bool[np.ndarray, " B"]:
        """Whether all keys and readings of each prompt were finite: a sum is not if any of its terms is not."""
        return np.asarray(torch.stack(self.sums).isfinite().all(0).cpu().numpy())

    def check(self) -> None:
        for values in (values for step in self.steps for values in step.values()):
            missing = [str(key) for key in self.keys.values() if key not in values]
            if missing:
                raise UnsupportedModelError(f"expected a call of each wanted layer, found none of {missing[:4]}")

    def _terms(self, key: LayerKey, call: Call) -> Terms:
        """The call's terms with padded rows emptied; a generated token is never padding."""
        real = self.real[key.stack]
        if real is None or len(self.steps) > 1:
            return call.terms
        held = real[:, real.shape[1] - call.q.shape[2] :]
        return replace(call.terms, mask=call.terms.mask.only_rows(held))

    def _moment(self, key: LayerKey) -> Moment:
        step, row = len(self.steps) - 1, self.rows[key.stack]
        return Moment(torch.full_like(row, -1) if step else row, self.members, step)


def _decoder_rows(model: Model, batch: Batch, target: Batch | None) -> Int[Tensor, "B 1"]:
    """The decoder's last row of each prompt; in an encoder-decoder its start token comes first."""
    if not model.anatomy.encoder_decoder:
        return batch.last_rows()
    return torch.zeros_like(batch.last_rows()) if target is None else target.last_rows() + 1


def _real_rows(batch: Batch) -> Bool[Tensor, "B T"] | None:
    return batch.real().bool() if batch.padded else None


def _real_decoder_rows(model: Model, batch: Batch, target: Batch | None) -> Bool[Tensor, "B T"] | None:
    if not model.anatomy.encoder_decoder:
        return _real_rows(batch)
    real = None if target is None else _real_rows(target)
    return None if real is None else torch.nn.functional.pad(real, (1, 0), value=True)


def _refuse_unknown(wanted: Sequence[LayerKey], known: Sequence[LayerKey]) -> None:
    unknown = [str(key) for key in wanted if key not in known]
    if unknown or not wanted:
        raise InputError(
            f"expected layers among {known[0]} … {known[-1]}, found {', '.join(unknown) or 'none'}: name others"
        )


def _refuse_whole_rows(probes: Mapping[str, Probe]) -> None:
    whole = [name for name, probe in probes.items() if not getattr(probe, "last_row_only", False)]
    if whole:
        raise InputError(
            f"expected probes of the last row with a prefix cache, found {', '.join(whole)}: earlier rows are not "
            "computed again; read without prefix"
        )


def _refuse_decoder_spans(wanted: Sequence[LayerKey]) -> None:
    if any((key.stack, key.kind) == ("decoder", "self") for key in wanted):
        raise InputError(
            "expected encoder or cross-attention layers, found decoder layers: spans lie in the encoder's text"
        )


def _refuse_generation(batch: Batch, wanted: Sequence[LayerKey]) -> None:
    if batch.padded and batch.padding == "right":
        raise InputError("expected left padding to generate from prompts of several lengths, found right padding")
    if any(key.stack == "encoder" for key in wanted):
        raise InputError("expected decoder layers while generating, found encoder layers: read them without new_tokens")
