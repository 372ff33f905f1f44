"""Serving a picture from this process, for a browser on this machine.

Comes in: a scene. Goes out: a running server of `heed.picture.tileserver.app`. It listens on this machine alone unless
told otherwise, and its address carries a token that nobody can guess.
"""

import socket
from collections.abc import Sequence
from errno import EADDRNOTAVAIL
from ipaddress import ip_address
from threading import Thread
from time import sleep
from typing import Any, Self

from heed.errors import HeedError, InputError, StoreError
from heed.extras import require
from heed.picture.desk import Desk
from heed.picture.secret import token_of
from heed.picture.tileserver import app
from heed.text.attention import AttentionScene

_START_S = 20.0


class Served:
    """A running tile server; ``url`` is the address of its page, ``port`` the port it took.

    Closes at the end of a ``with`` block.
    """

    def __init__(self, server: Any, thread: Thread, desk: Desk, url: str, port: int) -> None:
        self._server, self._thread, self._desk, self.url, self.port = server, thread, desk, url, port

    def wait(self) -> None:
        """Stay until the server ends; Ctrl-C ends it."""
        try:
            while self._thread.is_alive():
                self._thread.join(0.5)
        except KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """End the server, and whatever it is computing."""
        self._desk.close()
        self._server.should_exit = True
        self._thread.join()

    def __repr__(self) -> str:
        return f"<heed picture at {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(
    scene: AttentionScene,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> Served:
    """Serve a scene's page from a thread of this process.

    Parameters
    ----------
    host, port
        Where to listen; by default this machine alone, at any free port.
    token
        First part of every address. By default 32 random letters, which stay the same for a port: an open page finds
        a server again that was started anew at its port.
    hosts
        More names under which the server may be called, without a port; addresses that are no names need not be listed.

    Raises
    ------
    ExtraMissingError
        Without the extra ``serve``.
    InputError
        If it cannot listen there, or one of the hosts is no name.
    StoreError
        If the secret behind tokens cannot be kept in heed's cache folder.
    """
    uvicorn = require("uvicorn", extra="serve")
    _check_names(hosts)
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    try:
        token = token_of(port) if token is None else token
    except StoreError:
        listening.close()
        raise
    served = app(scene, token=token, hosts=("localhost", socket.gethostname(), host, *hosts))
    config = uvicorn.Config(served, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name="heed-server", daemon=True)
    thread.start()
    for _ in range(int(_START_S / 0.01)):
        if server.started or not thread.is_alive():
            break
        sleep(0.01)
    if not server.started:
        raise HeedError(f"expected the server to start within {_START_S:.0f} s at {host}:{port}, found that it did not")
    return Served(server, thread, served.state.desk, f"http://{_reachable(host)}:{port}/{token}/", port)


def _reachable(host: str) -> str:
    """A host as a browser on this machine writes it."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"


def _check_names(hosts: Sequence[str]) -> None:
    for name in hosts:
        if not name or set(name) & set(":/[] \t"):
            raise InputError(
                f"expected the name of a host, without scheme and port, found {name!r}; such as example.org"
            )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port < 1 << 16:
        raise InputError(f"expected a port in [0, {1 << 16}), found {port}; 0 takes any that is free")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"expected a name or an address of this machine to serve at, found {host!r}: {error}; "
            "127.0.0.1 is this machine alone, 0.0.0.0 all its networks"
        ) from error
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == EADDRNOTAVAIL:
            raise InputError(
                f"expected an address of this machine to serve at, found {host!r}, which it does not have; name another"
            ) from error
        raise InputError(f"expected a free port to serve at, found {host}:{port}: {error}; name another") from error
