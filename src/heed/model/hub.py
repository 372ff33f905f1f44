"""A hub id brought to this machine: what a model folder needs, into huggingface_hub's own cache.

In: an id. Out: a folder. Knows nothing of what is in the files. Works offline for what the cache holds.
"""

import logging
import time
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from heed.errors import ModelError, ModelNotFoundError

_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_UNWANTED = ["*/*", "consolidated*"]  # copies for other libraries
_PASSING = (408, 429)
"""Answers of the 400s that ask to come again: too slow, too many requests."""
_LOG = logging.getLogger(__name__)
_CLIENT_ERROR = HfHubHTTPError.__bases__[0]
"""Base error of the HTTP client, whichever one huggingface_hub uses."""


def hub_folder(name: str, *, retries: int = 2, wait_s: float = 1.0) -> Path:
    """The local folder of a hub id, downloaded if need be. Only network errors are tried again, ``retries`` times.

    The wait before a new try starts at ``wait_s`` seconds and doubles.

    Raises
    ------
    ModelNotFoundError
        If the hub does not know the id or cannot be reached, and the cache does not hold it.
    ModelError
        If the hub refuses access.
    """
    for attempt in range(retries + 1):
        try:
            return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
        except Exception as error:
            answer = _final(name, error)
            if answer is None and not _is_network(error):
                raise
            if answer is None and attempt == retries:
                answer = _unreachable(name, error, tries=retries + 1)
            if answer is not None:
                raise answer from error
            fields = {"model": name, "attempt": attempt + 1, "tries": retries + 1, "wait_s": wait_s * 2**attempt}
            _LOG.error("the hub did not answer", extra=fields, exc_info=True)
        time.sleep(wait_s * 2**attempt)
    raise ValueError(f"expected retries >= 0, found {retries}")


def _final(name: str, error: Exception) -> ModelError | None:
    """What the hub said for good, or None where another try may help."""
    if isinstance(error, HFValidationError):
        return ModelNotFoundError(
            f"expected a folder, a GGUF file, a name in the models folder or a hub id, found {name!r}: check the name"
        )
    if isinstance(error, GatedRepoError):
        return ModelError(
            f"expected access to {name!r} on the hub, found it gated: accept its terms there and run `hf auth login`"
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFoundError(
            f"expected a model {name!r}, found no such folder, nor a name in the models folder, nor a hub id: "
            f"check the name (a private model needs `hf auth login`)"
        )
    if isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled):
        return _unreachable(name, "HF_HUB_OFFLINE is set", tries=1)
    if isinstance(error, HfHubHTTPError) and _is_final(error.response.status_code):
        return ModelError(f"expected the hub to give {name!r}, found: {error}: check name and access")
    return None


def _is_final(status: int) -> bool:
    return 400 <= status < 500 and status not in _PASSING


def _is_network(error: Exception) -> bool:
    return isinstance(error, (LocalEntryNotFoundError, ConnectionError, TimeoutError, _CLIENT_ERROR))


def _unreachable(name: str, why: object, *, tries: int) -> ModelNotFoundError:
    reason = str(why).partition("\n")[0]
    return ModelNotFoundError(
        f"expected a model {name!r}, found no such folder, nor a name in the models folder, nor a copy in the hub "
        f"cache, and the hub cannot be reached (tries: {tries}; {reason}): go online, give a local folder or GGUF "
        f"file, or use the embedded model (`heed models pull`)"
    )
