"""What the layers of this room ask of a tensor before they compute with it."""

import torch
from torch import Tensor, nn

from heed.errors import InputError


def floating(name: str, x: object, weight: object) -> None:
    """A floating-point tensor of the dtype of the weights; autocast may bring another.

    ``weight`` is looked at where it is a tensor (a quantised layer has none). Raises InputError.
    """
    if not isinstance(x, Tensor):
        raise InputError(f"{name} must be a tensor, found {type(x).__name__}; make one with torch.as_tensor")
    if not x.is_floating_point():
        raise InputError(f"{name} must be floating point, found {x.dtype}; embed token ids first")
    if isinstance(weight, Tensor) and x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(
            f"{name} must have the dtype of the layer's weights, {weight.dtype}, found {x.dtype}: convert one of them, "
            "or use torch.autocast"
        )


def token_ids(ids: object) -> None:
    """Whole numbers. Raises InputError."""
    if not isinstance(ids, Tensor):
        raise InputError(f"token ids must be a tensor, found {type(ids).__name__}; make one with torch.as_tensor")
    if ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"token ids must be int64 or int32, found {ids.dtype}")


def layer_of_torch(mha: object) -> None:
    """One of torch's attention layers. Raises InputError."""
    if not isinstance(mha, nn.MultiheadAttention):
        raise InputError(f"expected a torch.nn.MultiheadAttention, found {type(mha).__name__}")
