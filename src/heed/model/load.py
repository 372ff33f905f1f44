"""Load a model by name: the embedded default, a folder, a GGUF file, a name in the models folder, a hub id.

In: a name. Out: a Model on the device and in the number format asked for. Nothing is downloaded but hub ids,
and nothing is replaced by something else in silence.
"""

import os
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from heed.errors import BrokenModelError, ModelError, ModelNotFoundError, OutOfMemoryError
from heed.model.anatomy import read_anatomy
from heed.model.embedded import damage, embedded_folder
from heed.model.folder import load_folder
from heed.model.gguf import load_gguf
from heed.model.hub import hub_folder
from heed.model.model import Model, Origin
from heed.model.precision import fast_dtype
from heed.settings import settings

EMBEDDED_NAME = "embedded"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    name: str | Path | None = None,
    *,
    dtype: str | torch.dtype | None = "auto",
    device: str | None = None,
    retries: int = 2,
    threads: int | None = None,
) -> Model:
    """Load a model, in eval mode.

    Parameters
    ----------
    name
        None or ``"embedded"``: the embedded default. Else, in this order: an existing path (a folder with config.json,
        or a ``.gguf`` file); a folder or ``<name>.gguf`` in the models folder (``HEED_MODELS_DIR``); a hub id.
    dtype
        ``"float32"``, ``"bfloat16"``, ``"float16"`` or the torch dtype; ``"auto"``: what the device is fast in,
        bfloat16 where it has the instructions, else float32; None: as stored (GGUF: float32).
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"mps"`` (untested); None: ``"cpu"``.
    retries
        How often a download from the hub is tried again after a network error.
    threads
        torch threads for the whole process; None: ``HEED_THREADS``, else torch's own choice.

    Raises
    ------
    ModelNotFoundError
        If there is no such model, or the embedded one is not pulled.
    BrokenModelError
        If it is cut, damaged or not a model.
    UnsupportedModelError
        If transformers cannot build it, or it has no softmax attention.
    OutOfMemoryError
        If it does not fit.
    ModelError
        If dtype or device are unknown here, or the hub refuses access.
    """
    place = _device(device)
    kind = fast_dtype(place) if dtype == "auto" else _dtype(dtype)
    wanted = threads if threads is not None else settings().threads
    if wanted is not None:
        torch.set_num_threads(wanted)
    path, origin = _find(name, retries=retries)
    try:
        hf, tokenizer = _bring(path, kind)
        hf.to(place)  # type: ignore[arg-type]
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemoryError(
            f"expected {path} to fit into the memory of {place}, found too little: use bfloat16 or a smaller model"
        ) from error
    shown = EMBEDDED_NAME if name is None else str(name)
    return Model(hf=hf, tokenizer=tokenizer, name=shown, anatomy=read_anatomy(hf), origin=origin)


def _bring(path: Path, dtype: torch.dtype | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    if path.suffix == ".gguf":
        return load_gguf(path, dtype=dtype or torch.float32)
    return load_folder(path, dtype=dtype)


def _find(name: str | Path | None, *, retries: int) -> tuple[Path, Origin]:
    if name is None or name == EMBEDDED_NAME:
        return _embedded(), "embedded"
    if not str(name).strip() or "\0" in str(name):
        raise ModelNotFoundError(
            f"expected a path, a name or a hub id, found {str(name)!r}: leave it out for the default"
        )
    home = os.path.expanduser(name)  # noqa: PTH111 - unlike Path.expanduser, leaves unknown users alone
    for path in (Path(home), *_in_models_dir(name)):
        if os.path.exists(path):  # noqa: PTH110 - unlike Path.exists, False for names no file system takes
            return path, _origin(path)
    if isinstance(name, Path) or name.startswith((".", "/", "~")) or name.endswith(".gguf"):
        raise ModelNotFoundError(f"expected a model folder or GGUF file at {name}, found nothing there: check the path")
    return hub_folder(name, retries=retries), "hub"


def _embedded() -> Path:
    folder = embedded_folder()
    if not folder.is_dir():
        raise ModelNotFoundError(f"expected the embedded model in {folder}, found none: run `heed models pull`")
    wrong = damage(folder)
    if wrong is not None:
        raise BrokenModelError(
            f"expected the embedded model whole in {folder}, found: {wrong}: run `heed models pull --force`"
        )
    return folder


def _in_models_dir(name: str | Path) -> tuple[Path, ...]:
    """Where the models folder may hold it; nowhere for names that lead out of that folder."""
    plain = Path(name)
    if plain.is_absolute() or ".." in plain.parts:
        return ()
    base = settings().models_dir
    return base / plain, base / f"{plain}.gguf"


def _origin(path: Path) -> Origin:
    if path.is_dir():
        return "folder"
    if path.suffix == ".gguf":
        return "gguf"
    raise BrokenModelError(
        f"expected a model folder or a .gguf file, found the file {path}: "
        f"give the folder that save_pretrained wrote (pickled weights are never opened)"
    )


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    if dtype is None:
        return None
    found = _DTYPES.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise ModelError(f"expected dtype auto, {', '.join(_DTYPES)}, found {dtype}: choose one of them")
    return found


def _device(device: str | None) -> torch.device:
    try:
        place = torch.device(device or "cpu")
    except RuntimeError as error:
        raise ModelError(f"expected device cpu, cuda, cuda:<n> or mps, found {device!r}") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if place.type not in count:
        raise ModelError(f"expected device cpu, cuda, cuda:<n> or mps, found {device!r}")
    if (place.index or 0) >= count[place.type]:
        raise ModelError(
            f"expected the device {device!r} on this machine, found {count[place.type]} of type {place.type}: use cpu"
        )
    return place
