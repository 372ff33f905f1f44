"""A model folder as transformers saves it: configuration and safetensors in, model and tokenizer out.

What is wrong with the files is found before transformers sees them, where it can be. Code that comes with a model is
never run and pickled weights are never opened. Knows nothing of where the folder came from.
"""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from heed.errors import BrokenModelError, ModelError, UnsupportedModelError
from heed.interface.distance import recorded
from heed.interface.install import load_distance
from heed.interface.mechanism import register_attention
from heed.model.quiet import quiet

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def load_folder(
    folder: Path, *, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """Load a model folder onto the CPU, in eval mode; ``dtype`` None: as stored. No tokenizer files: no tokenizer.

    Raises
    ------
    BrokenModelError
        If files are missing, damaged, cut, unreadable, or hold pickled weights only, or if weights are missing.
    UnsupportedModelError
        If transformers does not know the architecture, or a library it needs is not installed.
    """
    try:
        _check_config(folder)
        _check_weights(folder)
    except OSError as error:
        raise BrokenModelError(
            f"expected a readable model in {folder}, found: {error.strerror} ({error.filename}): check the permissions"
        ) from error
    try:
        with quiet():
            return _model(folder, dtype), _tokenizer(folder)
    except (ModelError, MemoryError):
        raise
    except ImportError as error:
        raise UnsupportedModelError(
            f"expected the libraries of {folder} to be installed, found: {_line(error)}: install what it names"
        ) from error
    except Exception as error:  # transformers raises whatever the damaged files lead to
        raise BrokenModelError(
            f"expected a whole model in {folder}, found one that cannot be loaded "
            f"({type(error).__name__}: {_line(error)}): bring it again"
        ) from error


def auto_class(config: PreTrainedConfig) -> Any:
    """The Auto class that loads a configuration's model: seq2seq, causal, or the bare model (encoders).

    Raises
    ------
    UnsupportedModelError
        If transformers has no model for it.
    """
    kind = type(config)
    if getattr(config, "is_encoder_decoder", False) and kind in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return transformers.AutoModelForSeq2SeqLM
    encoder = kind in transformers.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if kind in transformers.MODEL_FOR_CAUSAL_LM_MAPPING and not encoder:
        return transformers.AutoModelForCausalLM
    if kind in transformers.MODEL_MAPPING:
        return transformers.AutoModel
    raise UnsupportedModelError(f"expected a model that transformers can build, found {config.model_type!r}")


def _check_config(folder: Path) -> None:
    path = folder / "config.json"
    if not path.exists():
        raise BrokenModelError(f"expected config.json in {folder}, found none: {_instead(folder)}")
    config = _json(path)
    family = config.get("model_type")
    if family is None:
        raise BrokenModelError(f"expected a model_type in {path}, found none: bring the folder again")
    if family not in transformers.CONFIG_MAPPING:
        raise UnsupportedModelError(
            f"expected an architecture that transformers {transformers.__version__} holds, found {family!r} in {path}: "
            f"use another model or a newer transformers (code that comes with a model is never run)"
        )


def _instead(folder: Path) -> str:
    if any(folder.glob("*.gguf")):
        return "give the path of the .gguf file itself"
    if (folder / "adapter_config.json").exists():
        return "this is an adapter; merge it into its base model and save that"
    return "give a folder that save_pretrained wrote"


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BrokenModelError(f"expected JSON in {path}, found a damaged file ({error}): bring it again") from error
    if not isinstance(value, dict):
        raise BrokenModelError(f"expected a JSON object in {path}, found {type(value).__name__}: bring it again")
    return value


def _check_weights(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = _json(index).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise BrokenModelError(f"expected a weight_map in {index}, found none: bring the folder again")
        files = [folder / name for name in sorted(set(named.values()))]
    else:
        files = [folder / "model.safetensors"]
    for path in files:
        if not path.exists():
            pickled = sorted(found.name for found in folder.glob("*.bin"))
            hint = f"only {', '.join(pickled)}: heed opens no pickled weights, convert them" if pickled else "none"
            raise BrokenModelError(f"expected {path.name} in {folder}, found {hint}; save it with save_pretrained")
        _check_safetensors(path)


def _check_safetensors(path: Path) -> None:
    with path.open("rb"):  # so that a file without permission says so
        pass
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise BrokenModelError(
            f"expected a whole safetensors file at {path}, found one cut or damaged "
            f"({path.stat().st_size:,} bytes; {error}): bring it again"
        ) from error


def _model(folder: Path, dtype: torch.dtype | None) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    distance = recorded(config)
    if distance is not None:
        register_attention()
    model, report = auto_class(config).from_pretrained(
        folder,
        config=config,
        dtype="auto" if dtype is None else dtype,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # A checkpoint of another head brings no pooler; attention never passes through it.
    missing = sorted(name for name in report["missing_keys"] if "pooler." not in name)
    if missing:
        raise BrokenModelError(
            f"expected every weight of {type(model).__name__} in {folder}, found {len(missing)} missing "
            f"({missing[0]} …): transformers would make them up; bring the whole model"
        )
    assert isinstance(model, PreTrainedModel)
    if distance is not None:
        load_distance(model, folder)
    return model


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    if not any((folder / name).exists() for name in _TOKENIZER_FILES):
        return None
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
