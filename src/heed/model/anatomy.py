"""How a model is built, as far as reading its attention needs to know: layers, heads, groups, windows.

In: a transformers model, of which only the configuration is looked at. Out: an Anatomy. Knows nothing of weights,
and nothing of whether the attention can be read (`heed.probe` proves that).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from heed.errors import UnsupportedModelError

_NO_SOFTMAX = frozenset({"linear_attention", "conv", "moe", "mlp"})
"""Kinds of layer, as transformers names them, that never weigh tokens with a softmax."""

_WINDOW_SETTING: Mapping[str, str] = {
    "sliding_attention": "sliding_window",
    "hybrid_sliding": "sliding_window",
    "chunked_attention": "attention_chunk_size",
}
"""Which setting holds the window of which kind of layer."""

_SHIFTED_POSITIONS = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text", "xmod"}
)
"""Families that count positions from ``pad_token_id + 1`` on, so that their table is longer than their context."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The build of a model; of an encoder-decoder, that of the decoder."""

    family: str
    """``model_type`` as transformers names it."""
    layers: int
    heads: int
    """Query heads a layer."""
    kv_heads: int
    """Key-value heads a layer, as the attention sees them; ``heads`` where nothing is grouped."""
    head_width: int
    """Width of one query and key; values may be of another."""
    context: int | None
    """Tokens the model was built for; None: no bound (relative positions)."""
    windows: tuple[int | None, ...]
    """For each layer its sliding window or chunk in tokens, None where it sees everything."""
    kinds: tuple[str, ...]
    """For each layer its kind in transformers' words (``full_attention``, ``sliding_attention``, ``chunked_attention``,
    ``linear_attention`` …): tells a sliding window from a chunk."""
    attention_layers: tuple[int, ...]
    """The layers with softmax attention, ascending."""
    encoder_decoder: bool
    places_itself: bool
    """Whether the model counts positions from its padding (RoBERTa and kin) and must not be given any."""
    encoder_layers: int
    """Layers of the encoder of an encoder-decoder, else 0."""


def read_anatomy(hf: PreTrainedModel) -> Anatomy:
    """Read the anatomy from a model's configuration.

    The context is ``max_position_embeddings``, never the tokenizer's ``model_max_length``.

    Raises
    ------
    UnsupportedModelError
        If the configuration names no attention heads (pure state-space models) or other numbers for each layer.
    """
    whole: Any = hf.config
    # A flat T5 would answer with a copy that hides its own decoder's depth.
    config = whole if hasattr(whole, "num_decoder_layers") else whole.get_text_config(decoder=True)
    both = bool(getattr(whole, "is_encoder_decoder", False))
    layers = _first(config, ("num_decoder_layers",) if both else (), "num_hidden_layers")
    heads = _first(config, (), "num_attention_heads")
    kinds = _kinds(config, layers)
    return Anatomy(
        family=str(whole.model_type),
        layers=layers,
        heads=heads,
        kv_heads=_kv_heads(config, heads),
        head_width=_head_width(config, heads),
        context=_context(config),
        windows=tuple(_window(config, kind) for kind in kinds),
        kinds=kinds,
        attention_layers=tuple(i for i, kind in enumerate(kinds) if kind not in _NO_SOFTMAX),
        encoder_decoder=both,
        places_itself=str(config.model_type) in _SHIFTED_POSITIONS,
        encoder_layers=_encoder_layers(whole) if both else 0,
    )


def _first(config: Any, preferred: tuple[str, ...], usual: str) -> int:
    for name in (*preferred, usual):
        value = getattr(config, name, None)
        if value is None:
            continue
        if isinstance(value, int) and value > 0:
            return value
        raise UnsupportedModelError(
            f"expected {name} of {config.model_type} to be one positive number, found {value!r}: "
            f"heed reads models whose layers are built alike"
        )
    raise UnsupportedModelError(
        f"expected {usual} in the configuration of {config.model_type}, found none: heed reads softmax attention only"
    )


def _encoder_layers(whole: Any) -> int:
    if hasattr(whole, "num_decoder_layers"):
        return _first(whole, (), "num_layers")
    return _first(whole.get_text_config(encoder=True), ("encoder_layers",), "num_hidden_layers")


def _kinds(config: Any, layers: int) -> tuple[str, ...]:
    named = getattr(config, "layer_types", None)
    if named is not None:
        return tuple(str(kind) for kind in named)[:layers]
    if getattr(config, "sliding_window", None) is not None:
        return ("sliding_attention",) * layers  # such as Mistral: one window for all
    return ("full_attention",) * layers


def _window(config: Any, kind: str) -> int | None:
    setting = _WINDOW_SETTING.get(kind)
    return None if setting is None else getattr(config, setting, None)


def _kv_heads(config: Any, heads: int) -> int:
    """GPT-BigCode and old Falcon say ``multi_query`` instead of a number; Falcon's own number is ``num_kv_heads``."""
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        return 1
    for name in ("num_key_value_heads", "num_kv_heads"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return heads


def _head_width(config: Any, heads: int) -> int:
    """Multi-head latent attention calls the rotary part ``head_dim``; its keys hold both parts."""
    if getattr(config, "qk_nope_head_dim", None) is not None:
        return int(config.qk_nope_head_dim + config.qk_rope_head_dim)
    for name in ("head_dim", "d_kv"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return int(config.hidden_size) // heads


def _context(config: Any) -> int | None:
    table = getattr(config, "max_position_embeddings", None)
    if not isinstance(table, int):
        return None
    if config.model_type in _SHIFTED_POSITIONS:
        return table - (config.pad_token_id or 0) - 1
    return table
