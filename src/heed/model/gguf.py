"""GGUF files: one file in, weights (dequantised) and tokenizer out.

transformers asks for ``accelerate`` before it reads a GGUF by itself, though reading needs none of it. Its own reader
is called here instead, and its own loader takes the tensors: the same weights, one dependency less.
Knows nothing of where the file came from.
"""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from heed.errors import BrokenModelError, UnsupportedModelError
from heed.model.quiet import quiet

_MAGIC = b"GGUF"


def load_gguf(path: Path, *, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read model and tokenizer from a GGUF file; weights are dequantised to ``dtype``, on the CPU, in eval mode.

    Raises
    ------
    BrokenModelError
        If the file is cut, damaged, not a GGUF, or lacks tensors or a tokenizer.
    UnsupportedModelError
        If transformers cannot turn this architecture into a model.
    """
    _check(path)
    try:
        with quiet():
            model, missing = _read(path, dtype)
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
    except (UnsupportedModelError, MemoryError):
        raise
    except Exception as error:  # the readers raise whatever the damaged bytes lead to
        raise BrokenModelError(
            f"expected a whole GGUF file with a tokenizer at {path}, found one that cannot be read "
            f"({type(error).__name__}: {error}): bring the file again"
        ) from error
    if missing:
        raise BrokenModelError(
            f"expected every weight in {path}, found {len(missing)} missing ({sorted(missing)[0]} …): bring it again"
        )
    return model, tokenizer


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise BrokenModelError(f"expected a readable file at {path}, found: {error.strerror}") from error
    if magic != _MAGIC:
        raise BrokenModelError(f"expected a GGUF file at {path}, found one that starts with {magic!r}: bring it again")


def _read(path: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, set[str]]:
    try:
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
    except ValueError as error:
        if "not supported" not in str(error):
            raise
        raise UnsupportedModelError(
            f"expected a GGUF architecture that transformers reads, found another ({error}): use its safetensors"
        ) from error
    with torch.device("meta"):  # names only: GGUF calls the weights differently
        skeleton = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    read = load_gguf_checkpoint(  # type: ignore[no-untyped-call]
        str(path), return_tensors=True, model_to_load=skeleton, torch_dtype=dtype
    )
    model, report = type(skeleton).from_pretrained(
        None, config=config, state_dict=read["tensors"], dtype=dtype, output_loading_info=True
    )
    return model, set(report["missing_keys"])
