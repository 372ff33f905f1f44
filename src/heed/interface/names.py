"""heed's name in transformers' two registries: an attention function and the mask function that goes with it.

Registering happens at the first reading, not at import, and changes no model: a model uses the name only
while it is being read. The name holds none of the words transformers dispatches on ("sdpa", "flash",
"eager", "flex_attention", "paged|"). A name without a mask function would lose padding and windows silently.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from heed.attention.dot import fused
from heed.attention.mask import Mask
from heed.interface.call import Call, read_terms
from heed.interface.session import StopForward, active

NAME = "heed"


@cache
def register() -> None:
    """Make the name known to transformers, once."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: object, **arguments: Any
) -> tuple[Tensor, None]:
    """Attend as the model would, and let the active session, if it reads this module, hear the call.

    The output is ``[B, Q, H, E]``, as the interface wants it. A model that one thread reads while another runs it
    computes the right thing in both.
    """
    terms = read_terms(module, query, key, attention_mask, arguments)
    session = active()
    heard = session is not None and session.hears(module)
    if session is not None and heard and session.last is module:
        session.observe(Call(module, query, key, terms))
        raise StopForward
    attended = fused.attend(query, key, value, terms)
    if session is not None and heard:
        session.observe(Call(module, query, key, terms, attended.lse))
    return attended.out.transpose(1, 2).contiguous(), None


def mask(**described: Any) -> Mask | Tensor | None:
    """The mask of a reading; for a thread that merely runs a model while it is read, one that any attention takes.

    Such a thread may be served by heed in one layer and, the reading over, by the model's own attention in the next.
    """
    from transformers.masking_utils import eager_mask

    if active() is None:
        additive: Tensor | None = eager_mask(**described)
        return additive
    return interval_mask(**described)


def interval_mask(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    mask_function: Callable[..., Tensor],
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    attention_mask: Tensor | None = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **_: Any,
) -> Mask:
    """Build a `Mask` from the index function that transformers describes a mask with.

    The two plain patterns are known by identity; any other function is evaluated in stretches of rows by
    transformers' own mask builder.
    """
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function, sdpa_mask

    first_row = int(q_offset)
    padding = None if attention_mask is None else _padding(attention_mask, kv_length, kv_offset)
    known_functions: tuple[object, object] = (causal_mask_function, bidirectional_mask_function)
    if mask_function is known_functions[0]:
        known = Mask.causal(q_length, kv_length, q_offset=first_row, kv_offset=kv_offset, device=device)
        return known if padding is None else known.padded(padding)
    if mask_function is known_functions[1]:
        full = Mask.full(q_length, kv_length, device=device)
        return full if padding is None else full.padded(padding)

    def rows(first: int, count: int) -> Tensor:
        dense = sdpa_mask(
            batch_size=batch_size,
            q_length=count,
            kv_length=kv_length,
            q_offset=first_row + first,
            kv_offset=kv_offset,
            mask_function=mask_function,
            attention_mask=attention_mask,
            allow_is_causal_skip=False,
            use_vmap=use_vmap,
            device=device,
        )
        assert dense is not None
        return dense[:, 0]

    return Mask.build(rows, q_length, q_offset=first_row, kv_offset=kv_offset)


def _padding(attention_mask: Tensor, n_keys: int, kv_offset: int) -> Tensor:
    """The 2-D padding cut or filled to the keys of the call: ``[B, T]``, True where a key is real."""
    real = attention_mask.bool()[:, kv_offset : kv_offset + n_keys]
    return torch.nn.functional.pad(real, (0, n_keys - real.shape[1]))
