"""The token in the address of a served picture: nobody can guess it, and a restart keeps it."""

import hmac
import secrets
from hashlib import sha256
from pathlib import Path

from heed.errors import StoreError
from heed.settings import settings


def token_of(port: int) -> str:
    """The token of a port, the same as long as the secret in heed's cache folder is kept.

    Raises
    ------
    StoreError
        If the secret can neither be read nor written.
    """
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_secret(path)
        secret = path.read_bytes()
    except OSError as error:
        raise StoreError(f"expected a place for {path}, found: {error}; give a token yourself") from error
    return hmac.new(secret, str(port).encode(), sha256).hexdigest()[:32]


def forget_tokens() -> None:
    """Delete the secret: addresses of servers that are started later are new."""
    _path().unlink(missing_ok=True)


def _path() -> Path:
    return settings().cache_dir / "serve.secret"


def _write_secret(path: Path) -> None:
    """Whole or not at all, readable by the user alone; the first of several processes wins."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    partial.touch(mode=0o600, exist_ok=False)
    try:
        partial.write_bytes(secrets.token_bytes(32))
        path.hardlink_to(partial)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
