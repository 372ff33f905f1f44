"""Key-value caches of transformers, as the models themselves make them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel


def empty_cache(hf: "PreTrainedModel") -> "DynamicCache":
    """A growing cache with one empty layer for each layer of the model."""
    from transformers import DynamicCache

    return DynamicCache(config=hf.config)
