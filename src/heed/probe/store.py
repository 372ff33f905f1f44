"""A trace to and from one safetensors file: tensors as they are, everything else in a versioned JSON header."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from heed.attention.mask import Mask
from heed.attention.score import rule_from_dict, rule_to_dict
from heed.attention.terms import Terms
from heed.errors import InputError
from heed.probe.view import LayerKey, LayerView
from heed.text.encode import Encoded
from heed.text.labels import Labels

if TYPE_CHECKING:
    from heed.probe.trace import Trace

VERSION = 1


def save(trace: "Trace", path: Path) -> None:
    """Write a trace, atomically: the whole file is there or none. Of the prompt its text is kept, not its parts."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {"ids": torch.from_numpy(trace.ids)}
    if trace.decoder_ids is not None:
        tensors["decoder_ids"] = torch.from_numpy(trace.decoder_ids)
    shared: dict[int, str] = {}
    header = {
        "version": VERSION,
        "model_name": trace.model_name,
        "fingerprint": trace.fingerprint,
        "seconds": trace.seconds,
        "text": None if trace.prompt is None else trace.prompt.text,
        "layers": [_describe(view, tensors, shared) for view in trace.views.values()],
        "labels": _record(trace.labels),
        "decoder_labels": _record(trace.decoder_labels),
    }
    if trace.prompt is not None:
        tensors["prompt.offsets"] = torch.from_numpy(trace.prompt.offsets)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial, _metadata(header))
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"expected a place to write {path}, found: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """The fields of a trace.

    Raises
    ------
    InputError
        If the file is missing, damaged, no trace or of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("heed.trace", "null"))
            if header is None:
                raise InputError(f"expected a trace saved by heed, found another safetensors file: {path}")
            if header["version"] != VERSION:
                raise InputError(f"expected trace version {VERSION}, found {header['version']} in {path}: trace again")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise InputError(
            f"expected a trace saved by heed, found a file that cannot be read: {path} ({error})"
        ) from error
    views = [_view(layer, tensors) for layer in header["layers"]]
    ids, decoder_ids = tensors["ids"].numpy(), tensors.get("decoder_ids")
    return {
        "views": {view.key: view for view in views},
        "ids": ids,
        "prompt": _prompt(header["text"], tensors),
        "model_name": header["model_name"],
        "fingerprint": header["fingerprint"],
        "seconds": header["seconds"],
        "decoder_ids": None if decoder_ids is None else decoder_ids.numpy(),
        "labels": _labels(header.get("labels")),
        "decoder_labels": _labels(header.get("decoder_labels")),
    }


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    return {"heed.trace": json.dumps(header), "format": "pt"}


def _record(labels: Labels | None) -> dict[str, Any] | None:
    return None if labels is None else labels.record()


def _labels(record: dict[str, Any] | None) -> Labels | None:
    return None if record is None else Labels.from_record(record)


def _prompt(text: str | None, tensors: dict[str, Tensor]) -> Encoded | None:
    if text is None:
        return None
    offsets: np.ndarray = tensors["prompt.offsets"].numpy()
    return Encoded(ids=tensors["ids"].numpy()[: len(offsets)], offsets=offsets, text=text)


def _describe(view: LayerView, tensors: dict[str, Tensor], shared: dict[int, str]) -> dict[str, Any]:
    """Put a layer's tensors under its name; what several layers share is written once."""
    name, terms = str(view.key), view.terms
    tensors[f"{name}.q"], tensors[f"{name}.k"] = view.q, view.k
    assert view.lse_of_rows is not None
    tensors[f"{name}.lse"] = view.lse_of_rows
    if terms.sink is not None:
        tensors[f"{name}.sink"] = terms.sink
    parts = {"start": terms.mask.start, "end": terms.mask.end, "dense": terms.mask.dense, "bias": terms.bias}
    where: dict[str, str] = {}
    for part, tensor in parts.items():
        if tensor is None:
            continue
        where[part] = shared.setdefault(id(tensor), f"{part}.{len(shared)}")
        tensors[where[part]] = tensor
    return {
        "key": [view.key.stack, view.key.index, view.key.kind],
        "rule": rule_to_dict(terms.rule),
        "mask": [terms.mask.n_keys, terms.mask.shape, terms.mask.q_offset, terms.mask.kv_offset],
        "tensors": where,
    }


def _view(layer: dict[str, Any], tensors: dict[str, Tensor]) -> LayerView:
    key = LayerKey(*layer["key"])
    where = {part: tensors[name] for part, name in layer["tensors"].items()}
    n_keys, shape, q_offset, kv_offset = layer["mask"]
    mask = Mask(where["start"], where["end"], n_keys, shape, where.get("dense"), q_offset, kv_offset)
    terms = Terms(rule_from_dict(layer["rule"]), mask, where.get("bias"), tensors.get(f"{key}.sink"))
    return LayerView(key, tensors[f"{key}.q"], tensors[f"{key}.k"], terms, tensors[f"{key}.lse"])
