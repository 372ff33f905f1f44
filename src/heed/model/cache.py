"""heed's own cache: what is in it and how to empty it. The hub's cache and the models folder are not touched."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from heed.errors import ModelError
from heed.model.catalog import folder_bytes
from heed.model.embedded import embedded_folder, leftovers, pull_lock
from heed.settings import settings


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What heed keeps in its cache."""

    path: Path
    """The cache folder."""
    entries: tuple[Path, ...]
    """The folders that are heed's: the embedded model, and what interrupted pulls left."""
    mb: float
    """Size of the entries in MB (10^6 bytes)."""


def cache_info() -> CacheInfo:
    """Measure heed's cache: the folders heed made, and nothing else that may lie beside them."""
    folder = embedded_folder()
    entries = tuple(path for path in (folder, *leftovers(folder.parent)) if path.is_dir())
    return CacheInfo(settings().cache_dir, entries, sum(folder_bytes(path) for path in entries) / 1e6)


def clear_cache() -> CacheInfo:
    """Delete the embedded model and the remains of interrupted pulls; return what was deleted.

    Other files in the cache folder stay, your own models among them. Waits for a pull that is going on.
    Afterwards the embedded model must be pulled again.

    Raises
    ------
    ModelError
        If something cannot be deleted.
    """
    parent = embedded_folder().parent
    if not parent.is_dir():
        return cache_info()
    try:
        with pull_lock(parent):
            found = cache_info()
            for path in found.entries:
                shutil.rmtree(path)
    except OSError as error:
        raise ModelError(f"expected to delete what is in {parent}, found: {error}: check the permissions") from error
    return found
