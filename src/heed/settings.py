"""Settings: folders and defaults. The only reader of the environment (``HEED_*`` variables).

A setting is read when it is asked for, so that a test or a long-lived process sees its own environment.
"""

from pathlib import Path

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where heed keeps things and what it uses when nothing is said.

    Each field is a variable ``HEED_<NAME>``: ``HEED_CACHE_DIR``, ``HEED_MODELS_DIR`` …
    """

    model_config = SettingsConfigDict(env_prefix="HEED_", extra="ignore")

    cache_dir: Path = Field(default_factory=lambda: user_cache_path("heed"))
    """Brought models, converted once. Can be deleted at any time (`heed cache clear`)."""
    models_dir: Path = Field(default_factory=lambda: user_data_path("heed") / "models")
    """Folder whose subfolders and GGUF files `heed.load` finds by name."""
    profiles_dir: Path = Field(default_factory=lambda: user_config_path("heed") / "profiles")
    """Profiles you fitted; found by the model's fingerprint."""
    dev_data: Path | None = None
    """Development data for tests, benchmarks and fitting; None: those that need it are skipped."""
    threads: int | None = Field(default=None, ge=1)
    """torch threads; None: torch's own choice."""


def settings() -> Settings:
    """The settings as the environment has them now."""
    return Settings()
