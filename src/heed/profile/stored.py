"""What all profiles share: their files, their identity, and the refusal of a model they were not made for."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float

from heed.errors import ProfileError

if TYPE_CHECKING:
    from heed.profile.learned import LearnedProfile
    from heed.profile.ranking import RankingProfile


class ModelIdentity(Protocol):
    """What a profile needs to know of a model to tell whether it is the right one."""

    @property
    def name(self) -> str:
        """Hub id, folder or file the model came from."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of the weights."""
        ...

    @property
    def anatomy(self) -> Any:
        """Layers and heads."""
        ...


def refuse_other(profile: "LearnedProfile | RankingProfile", model: ModelIdentity) -> None:
    """Refuse a model whose weights a profile was not fitted on.

    Raises
    ------
    ProfileError
        With what was expected and found.
    """
    shape = (model.anatomy.layers, model.anatomy.heads)
    if shape != (profile.n_layers, profile.n_heads) or model.fingerprint not in profile.fingerprints:
        raise ProfileError(
            f"expected the weights of {profile.model} ({', '.join(profile.fingerprints)}), found {model.name} "
            f"({model.fingerprint}): fit a profile with `heed {profile.task} fit --model {model.name}`"
        )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON, atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path, *, version: int | None, kind: str) -> dict[str, Any]:
    """Read versioned JSON; of any version if None is given.

    Raises
    ------
    ProfileError
        If it is missing, no JSON object or of another version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProfileError(f"expected a {kind} in {path}, found: {error}") from error
    if not isinstance(value, dict) or version not in (None, value.get("version")):
        found = value.get("version") if isinstance(value, dict) else type(value).__name__
        raise ProfileError(f"expected {kind} version {version}, found {found} in {path}: fit it again")
    return value


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong while a profile is made of a file's values is told as the file's fault."""
    try:
        yield
    except ProfileError as error:
        raise ProfileError(f"{error} (in {path})") from error
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ProfileError(f"expected a profile as heed writes it, found {error!r} in {path}: fit it again") from error


def packed(array: Float[np.ndarray, "..."]) -> str:
    """Base64 of little-endian fp32."""
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def unpacked(text: str, shape: Sequence[int]) -> Float[np.ndarray, "..."]:
    """What `packed` wrote; ValueError if it is damaged or of another shape."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(shape).astype(np.float32)


def digest_of(value: object) -> str:
    """Identity of a JSON value: sha256, the first 16 hex digits."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
