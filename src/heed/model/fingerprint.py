"""The fingerprint of a model: tells whether two models hold the same weights.

In: a transformers model. Out: 32 hexadecimal digits. Knows nothing of files, names or tokenizers.
"""

import hashlib

import torch
from torch import Tensor
from transformers import PreTrainedModel

from heed.interface.distance import mechanism_of

_SAMPLES = 1024


def fingerprint(hf: PreTrainedModel) -> str:
    """Sha256 (its first 32 hex digits) over names, shapes and a sample of the values of all parameters.

    Distance attention, installed or by name, is part of it: the same weights attend differently under it.

    Parameters are taken in the order of their names, tied ones once, and of each at most 1,024 evenly spaced values
    (the first and the last among them), rounded to bfloat16. So the same weights loaded as float32 or bfloat16 have
    the same fingerprint; float16 may differ (it rounds twice, and overflows). Milliseconds for 135M parameters.

    An identity, no proof of security: whoever changes weights between the samples keeps the fingerprint.
    """
    digest = hashlib.sha256()
    if (distance := mechanism_of(hf)) is not None:
        digest.update(f"{distance}\n".encode())
    for name, parameter in sorted(hf.named_parameters()):  # named_parameters gives tied ones once
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        digest.update(_sample(parameter.detach()))
    return digest.hexdigest()[:32]


def _sample(values: Tensor) -> bytes:
    count = min(values.numel(), _SAMPLES)
    places = torch.arange(count, device=values.device) * (values.numel() - 1) // max(count - 1, 1)
    sample = values.reshape(-1)[places].to("cpu", torch.bfloat16)
    return sample.view(torch.int16).numpy().astype("<i2").tobytes()
