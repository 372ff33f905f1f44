"""Silence for the time of a load: transformers' bars and warnings, and the bar of its GGUF reader.

In goes nothing; the settings found on entry stand again on exit. It knows nothing of what is loaded.
The switches belong to the whole process, so nested and parallel loads share one silence, ended by the last of them.
"""

import contextlib
import threading
from collections.abc import Iterator
from functools import partial

_lock = threading.Lock()
_open = 0
_undo = contextlib.ExitStack()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bars and no warnings of transformers inside the block; errors still come through."""
    global _open  # noqa: PLW0603 - the count of a process-wide switch
    with _lock:
        if _open == 0:
            _silence(_undo)
        _open += 1
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if _open == 0:
                _undo.close()


def _silence(undo: contextlib.ExitStack) -> None:
    from transformers import modeling_gguf_pytorch_utils as reader
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    undo.callback(logging.set_verbosity, level)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if bars:
        undo.callback(logging.enable_progress_bar)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # The GGUF reader draws its bar whatever is set above, so its bar alone is exchanged.
    bar = vars(reader)["tqdm"]
    undo.callback(setattr, reader, "tqdm", bar)
    vars(reader)["tqdm"] = partial(bar, disable=True)
