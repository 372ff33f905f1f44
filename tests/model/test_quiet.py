import contextlib
import threading

from transformers import modeling_gguf_pytorch_utils as reader
from transformers.utils import logging

from heed.model.quiet import quiet


def state():
    return logging.get_verbosity(), logging.is_progress_bar_enabled(), reader.tqdm


def test_all_is_restored_even_after_an_exception():
    before = state()
    with contextlib.suppress(KeyError), quiet():
        assert not logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == logging.ERROR
        raise KeyError
    assert state() == before


def test_bars_that_were_off_stay_off():
    logging.disable_progress_bar()
    try:
        with quiet():
            pass
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.enable_progress_bar()


def test_the_last_one_ends_the_silence():
    """Two overlapping loads, the first ends first: the second must stay quiet, and all must come back after it."""
    before = state()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with quiet():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=other)
    with quiet():
        thread.start()
        inside.wait(5)
    assert not logging.is_progress_bar_enabled()
    leave.set()
    thread.join()
    assert state() == before
