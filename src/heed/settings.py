"""Settings: folders and defaults. The only reader of the environment (``HEED_*`` variables).

A setting is read when it is asked for, so that a test or a long-lived process sees its own environment.
"""

from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from heed.errors import InputError


class Settings(BaseSettings):
    """Where heed keeps things and what it uses when nothing is said.

    Each field is a variable ``HEED_<NAME>``: ``HEED_CACHE_DIR``, ``HEED_MODELS_DIR`` …
    """

    model_config = SettingsConfigDict(env_prefix="HEED_", env_ignore_empty=True, extra="ignore")

    cache_dir: Path = Field(default_factory=lambda: user_cache_path("heed"))
    """Brought models, converted once. Can be deleted at any time (`heed cache clear`)."""
    models_dir: Path = Field(default_factory=lambda: user_data_path("heed") / "models")
    """Folder whose subfolders and GGUF files `heed.load` finds by name."""
    tasks_dir: Path = Field(default_factory=lambda: user_data_path("heed") / "tasks")
    """Folder whose task files `heed run` finds by name."""
    profiles_dir: Path = Field(default_factory=lambda: user_config_path("heed") / "profiles")
    """Profiles you fitted; found by the model's fingerprint."""
    feedback_dir: Path = Field(default_factory=lambda: user_data_path("heed") / "feedback")
    """What users confirmed of the guard's verdicts (`heed guard feedback`); private, hashes instead of texts."""
    analyses_mb: float = Field(default=2000.0, gt=0)
    """Most MB (10^6 bytes) that `heed show` keeps of what it analysed, below ``cache_dir``."""
    dev_data: Path | None = None
    """Development data for tests, benchmarks and fitting; None: those that need it are skipped."""
    threads: int | None = Field(default=None, ge=1)
    """torch threads; None: torch's own choice."""
    kernel: Literal["avx512", "avx2", "generic"] | None = None
    """Variant of the compiled attention kernel; None: the best the processor runs."""
    cxx: str | None = Field(default=None, validation_alias="CXX")
    """C++ compiler for that kernel where none came with the installation, from ``CXX``; None: g++, clang++ or c++."""
    upstream_url: str | None = None
    """Where the API of the OpenAI-compatible server that answers begins; None: there is none."""
    upstream_key: SecretStr | None = None
    """Its key, sent to that address alone."""
    log: Literal["json"] | None = None
    """``json``: the command line writes what heed logs to stderr, as JSON lines; None: nothing."""


def settings() -> Settings:
    """The settings as the environment has them now.

    Raises
    ------
    InputError
        If a variable holds no such value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors()[0]
        name = f"HEED_{wrong['loc'][0]}".upper()
        raise InputError(f"{name}: {wrong['msg']}, found {wrong['input']!r}: correct or unset the variable") from error
