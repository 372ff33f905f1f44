"""The widget in a real notebook: a marimo kernel, its page in a real browser."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("anywidget", reason="needs the extra `notebook`")
pytest.importorskip("marimo", reason="needs marimo (the dev group)")

from viewing import walk

HERE = Path(__file__).parent
_START_S = 60


@pytest.fixture(scope="module")
def notebook() -> Iterator[str]:
    """The address of the notebook, served by marimo from a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "MARIMO_SKIP_UPDATE_CHECK": "1"}
    command = ["-m", "marimo", "-q", "run", str(HERE / "notebook.py"), "--headless", "--no-token"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([sys.executable, *command, *where], env=environment, cwd=HERE) as process:
        end = time.monotonic() + _START_S
        while not _answers(port):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
        process.terminate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_everything_works(viewer, notebook) -> None:
    walk(viewer.open(notebook))
    assert not any("/tile?" in url for url in viewer.requests), "numbers come from the kernel"
