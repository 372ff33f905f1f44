"""Who listens to attention as it is asked for: `distance_attention` says each request to the listener of its thread.

That is how layers are analysed and their weights logged without a word in the modules that attend, heed's own or
others'. A listener hears before anything is computed and changes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from heed.attention.distance.call import Request

Listener = Callable[[Request], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("heed_attention_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear the requests of this thread until the block is left; what it asks itself is not heard."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell(request: Request) -> None:
    """Say a request to the listener, if there is one; code that torch compiles is not heard."""
    if torch.compiler.is_compiling():
        return
    listener = _LISTENER.get()
    if listener is None:
        return
    token = _LISTENER.set(None)
    try:
        listener(request)
    finally:
        _LISTENER.reset(token)
