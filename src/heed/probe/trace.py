"""A trace: q, k and row logsumexps of one pass, from which any later question is answered exactly.

At S tokens a map is S×S numbers a head; its factors are S×D. A trace keeps the factors: `Trace.layer` gives the
same `LayerView` a probe sees inside the pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heed.attention.dot.fused import row_lse
from heed.attention.mask import Mask
from heed.attention.terms import Terms
from heed.errors import UnsupportedModelError
from heed.interface.call import Call
from heed.model import Model
from heed.probe import store
from heed.probe.batch import Batch
from heed.probe.forward import Passage, run_pass
from heed.probe.layers import layers_of
from heed.probe.probes import Moment, Probe
from heed.probe.prompt import encode_prompt, label, label_more, roles_of
from heed.probe.run import check_length
from heed.probe.view import Kind, LayerKey, LayerView, Stack, usual
from heed.text.attention import AttentionScene
from heed.text.encode import Encoded
from heed.text.labels import Labels
from heed.text.span import TokenSpan

_BUFFER_BYTES = 1 << 26
"""More than any allocator keeps on its heap; pages that are not written take no memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One prompt's attention, layer by layer, without any map.

    ``ids`` are the tokens ``[T]`` the rows and columns count, of a generation all but the last; in encoder-decoder
    models those of the encoder, while ``decoder_ids`` are the decoder's. ``fingerprint`` names the weights it was taken
    from; ``labels`` and ``decoder_labels`` are what the tokens are called in a picture (None in older files).
    ``cached`` says that it was not taken now but found on disk.
    """

    views: Mapping[LayerKey, LayerView]
    ids: np.ndarray
    prompt: Encoded | None
    model_name: str
    fingerprint: str
    seconds: float
    decoder_ids: np.ndarray | None = None
    labels: Labels | None = None
    decoder_labels: Labels | None = None
    cached: bool = False

    @property
    def layers(self) -> tuple[LayerKey, ...]:
        """The layers held, in the order they ran."""
        return tuple(self.views)

    @property
    def nbytes(self) -> int:
        """Bytes of q, k and lse."""
        return sum(
            tensor.numel() * tensor.element_size()
            for view in self.views.values()
            for tensor in (view.q, view.k, view.lse_of_rows)
            if tensor is not None
        )

    def layer(self, index: int, *, stack: Stack | None = None, kind: Kind = "self") -> LayerView:
        """One layer; by default of the stack that ran last (the decoder, where there is one).

        Raises
        ------
        KeyError
            If the trace holds no such layer; the message lists what it holds.
        """
        key = LayerKey(stack or self.layers[-1].stack, index, kind)
        if key not in self.views:
            raise KeyError(f"expected one of {', '.join(map(str, self.layers))}; found {key}")
        return self.views[key]

    def ask(
        self, probe: Probe, *, spans: Sequence[TokenSpan] = (), layers: Sequence[LayerKey] | None = None
    ) -> Float[np.ndarray, "L ..."]:
        """What a probe would have said inside the pass, layer by layer; the same layers by default as `read`."""
        views = [self.views[key] for key in (usual(self.layers) if layers is None else layers)]
        members = torch.zeros(1, views[0].n_keys, len(spans), device=views[0].q.device)
        for column, span in enumerate(spans):
            members[0, span.start : span.end, column] = 1.0
        moment = Moment(torch.tensor([[-1]], device=members.device), members)
        return np.stack([probe(view, moment)[0].float().cpu().numpy() for view in views])

    def scene(self, **options: Any) -> AttentionScene:
        """The trace as a picture; see `heed.probe.scene.describe`."""
        from heed.probe.scene import describe

        return describe(self, **options)

    def save(self, path: Path | str) -> None:
        """Write as safetensors, atomically."""
        store.save(self, Path(path))

    @classmethod
    def load(cls, path: Path | str) -> "Trace":
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, damaged or of another version.
        """
        return cls(**store.load(Path(path)))


@dataclass(slots=True, eq=False)
class _Parts:
    """One layer's calls, pass after pass; only the new keys of each are kept."""

    q: list[Tensor] = field(default_factory=list)
    k: list[Tensor] = field(default_factory=list)
    lse: list[Tensor] = field(default_factory=list)
    terms: list[Terms] = field(default_factory=list)

    def add(self, call: Call, shelf: "_Shelf", *, cross: bool) -> None:
        mask, n_rows = call.terms.mask, call.q.shape[2]
        first = not self.q
        keys = call.k
        if not cross:
            where = mask.q_offset - mask.kv_offset
            keys = keys[:, :, where : where + n_rows] if mask.q_offset or keys.shape[2] != n_rows else keys
        if first or not cross:
            self.k.append(shelf.keep(keys))
        self.q.append(shelf.keep(call.q))
        self.lse.append(call.lse if call.lse is not None else row_lse(call.q, call.k, call.terms))
        self.terms.append(call.terms)

    def view(self, key: LayerKey) -> LayerView:
        if len(self.q) == 1:
            n_keys = self.k[0].shape[2]
            return LayerView(key, self.q[0], self.k[0], _cut(self.terms[0], n_keys), self.lse[0])
        k = torch.cat(self.k, 2)
        terms = replace(self.terms[0], mask=_joined([terms.mask for terms in self.terms], k.shape[2]), bias=None)
        biases = [terms.bias for terms in self.terms if terms.bias is not None]
        if biases:
            pad = torch.nn.functional.pad
            terms = replace(terms, bias=torch.cat([pad(bias, (0, k.shape[2] - bias.shape[-1])) for bias in biases], 2))
        return LayerView(key, torch.cat(self.q, 2), k, terms, torch.cat(self.lse, 2))


def trace(
    model: Model,
    prompt: Any,
    *,
    layers: Iterable[LayerKey] | None = None,
    target: Any = None,
    new_tokens: int = 0,
) -> Trace:
    """Keep q, k and row logsumexps of one pass.

    Parameters
    ----------
    prompt
        Text, messages, or token ids; see `heed.probe.prompt.encode_prompt`.
    layers
        Which layers; by default all, of every stack.
    target
        For encoder-decoder models the decoder's tokens; its start token alone by default.
    new_tokens
        Generate greedily up to this many tokens; their rows and keys are part of the trace.

    Raises
    ------
    TooLongError, UnsupportedModelError, OutOfMemoryError
        As `heed.probe.run.read`.
    """
    started = perf_counter()
    roles = roles_of(prompt)
    prompt = encode_prompt(model, prompt)
    target = None if target is None else encode_prompt(model, target)
    check_length(model, [prompt], new_tokens)
    known = layers_of(model)
    wanted = tuple(layers) if layers is not None else known.keys
    keys = {known.modules[key]: key for key in wanted}
    parts: dict[LayerKey, _Parts] = {key: _Parts() for key in wanted}
    shelf = _Shelf(len(wanted))

    def keep(call: Call) -> None:
        key = keys[call.module]
        parts[key].add(call, shelf, cross=key.kind == "cross")

    passage = Passage(
        Batch.of([prompt], device=model.device),
        frozenset(keys),
        target=None if target is None else Batch.of([target], device=model.device),
        new_tokens=new_tokens,
    )
    decoder_ids = run_pass(model, passage, keep)
    views = {key: parts[key].view(key) for key in wanted}
    ids, later = prompt.ids, None if decoder_ids is None else decoder_ids[0].cpu().numpy()
    if new_tokens and later is not None:
        later = later[:-1]  # the last token was generated, but never read
    labels, decoder_labels = label(model, prompt, roles=roles), None
    if new_tokens and not model.anatomy.encoder_decoder:
        assert later is not None
        labels, ids, later = label_more(model, labels, later), np.concatenate([ids, later]), None
    if later is not None:
        decoder_labels = label_more(model, Labels(()), later)
    seconds = perf_counter() - started
    return Trace(views, ids, prompt, model.name, model.fingerprint, seconds, later, labels, decoder_labels)


@dataclass(slots=True, eq=False)
class _Shelf:
    """Copies of tensors side by side in a few large buffers.

    Kept where the pass made them, they would lie between its passing tensors and keep the heap from being used again
    (8,192 tokens in fp32: 880 MB above what is kept, instead of 400).
    """

    layers: int
    buffer: Tensor | None = None
    used: int = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """A copy; the first of a buffer decides how large it is: queries and keys of all layers, if these fit."""
        size, buffer = tensor.numel(), self.buffer
        fits = buffer is not None and self.used + size <= len(buffer)
        if buffer is None or not fits or (buffer.dtype, buffer.device) != (tensor.dtype, tensor.device):
            most = max(size, _BUFFER_BYTES // tensor.element_size())
            buffer = self.buffer = tensor.new_empty(min(2 * size * self.layers, most))
            self.used = 0
        place = buffer[self.used : self.used + size].view(tensor.shape)
        self.used += size
        return place.copy_(tensor)


def _cut(terms: Terms, n_keys: int) -> Terms:
    """The terms for the keys that were kept: a static cache hands over its unfilled tail as well."""
    if terms.mask.n_keys == n_keys:
        return terms
    start, end = (bound.clamp_max(n_keys) for bound in (terms.mask.start, terms.mask.end))
    mask = replace(terms.mask, n_keys=n_keys, start=start, end=end)
    return replace(terms, mask=mask)


def _joined(masks: list[Mask], n_keys: int) -> Mask:
    """The masks of consecutive passes as one, in absolute positions."""
    if any(mask.dense is not None for mask in masks):
        raise UnsupportedModelError(
            "expected masks whose rows see one stretch of keys, found holes: trace this prompt without generating"
        )
    start = torch.cat([mask.start + mask.kv_offset for mask in masks], 1)
    end = torch.cat([mask.end + mask.kv_offset for mask in masks], 1)
    return Mask(start, end.clamp_max(n_keys), n_keys)
