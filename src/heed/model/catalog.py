"""The models on this machine: the embedded one, those in the models folder, those in the hub's cache.

Reads folders, loads nothing, needs no network.
"""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from heed.model.embedded import embedded_folder, embedded_path
from heed.model.load import EMBEDDED_NAME
from heed.model.model import Origin
from heed.settings import settings


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One model that can be loaded by its name, or could if it were complete."""

    name: str
    """What `heed.load` takes."""
    origin: Origin
    path: Path
    mb: float
    """Size on disk in MB (10^6 bytes)."""
    complete: bool
    """Its files are there (the embedded one: and intact); whether it loads is not tried."""


def catalog() -> tuple[CatalogEntry, ...]:
    """List the models on this machine: the embedded one first, then models folder, then hub cache, by name."""
    return (_embedded(), *_in_models_dir(), *_in_hub_cache())


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _embedded() -> CatalogEntry:
    folder = embedded_folder()
    return CatalogEntry(EMBEDDED_NAME, "embedded", folder, folder_bytes(folder) / 1e6, embedded_path() is not None)


def _in_models_dir() -> list[CatalogEntry]:
    base = settings().models_dir
    if not base.is_dir():
        return []
    entries = []
    for path in sorted(base.iterdir()):
        if path.is_dir() and (path / "config.json").exists():
            entries.append(CatalogEntry(path.name, "folder", path, folder_bytes(path) / 1e6, _has_weights(path)))
        elif path.suffix == ".gguf":
            entries.append(CatalogEntry(path.stem, "gguf", path, path.stat().st_size / 1e6, True))
    return entries


def _in_hub_cache() -> list[CatalogEntry]:
    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    entries = []
    for repo in sorted(repos, key=lambda found: found.repo_id):
        if repo.repo_type != "model":
            continue
        newest = max(repo.revisions, key=lambda found: found.last_modified, default=None)
        path = repo.repo_path if newest is None else newest.snapshot_path
        entries.append(CatalogEntry(repo.repo_id, "hub", path, repo.size_on_disk / 1e6, _has_weights(path)))
    return entries


def _has_weights(folder: Path) -> bool:
    return (folder / "config.json").exists() and any(folder.glob("*.safetensors"))
