"""A model in this process answers: heed's own rendering, plain decoding by transformers.

Messages come in, an `Answer` goes out. Nothing is read on the way, so that the answer costs what the model costs; but
the keys and values that were made can be handed to who reads the answer next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import perf_counter
from typing import Any, cast

import torch

from heed.errors import InputError
from heed.interface.session import lock_of
from heed.model import Model
from heed.probe.forward import memory_errors, pad_id
from heed.probe.prefix import PromptCache
from heed.probe.prompt import encode_prompt, tokenizer_of
from heed.probe.run import check_length
from heed.text.encode import Encoded
from heed.upstream.answer import Answer, Finish, Prompt, Usage, check_settings, messages_of

_RANDOM = Lock()
"""torch's random numbers are those of the whole process."""


class LocalUpstream:
    """Answers with a loaded model: greedy, or sampled from the whole distribution at a temperature.

    What the model brings of its own (beams, penalties, top-p) is set aside; its end tokens are kept.

    Parameters
    ----------
    model
        A model with its tokenizer.
    timeout
        Seconds after which an answer is cut short (``finish`` is then ``timeout``); None: no bound.
    prefix
        Takes over the keys and values of each prompt: a reader with the same one does not compute them again.

    Raises
    ------
    InputError
        If the model came without a tokenizer, or ``timeout`` is not above 0 and finite.
    """

    def __init__(self, model: Model, *, timeout: float | None = None, prefix: PromptCache | None = None) -> None:
        tokenizer_of(model)
        if timeout is not None and not 0 < timeout < float("inf"):
            raise InputError(f"expected a timeout above 0 seconds, found {timeout}")
        self.model, self.timeout, self.prefix = model, timeout, prefix

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def answer(
        self, messages: Prompt, *, max_new_tokens: int = 512, temperature: float = 0.0, seed: int | None = None
    ) -> Answer:
        """Answer messages; see `Upstream`.

        Raises
        ------
        InputError
            As `Upstream.answer`.
        TooLongError
            If prompt and answer together do not fit the model's context.
        OutOfMemoryError
            If the device has no memory left.
        """
        check_settings(max_new_tokens, temperature)
        encoded = encode_prompt(self.model, messages_of(messages))
        check_length(self.model, [encoded], max_new_tokens)
        started = perf_counter()
        with _seeded(seed if temperature else None, self.model.device), memory_errors(self.model), torch.no_grad():
            ids = self._generate(encoded, max_new_tokens, temperature)
        seconds = perf_counter() - started
        text = str(cast("Any", tokenizer_of(self.model)).decode(ids, skip_special_tokens=True))
        return Answer(text, self.name, seconds, Usage(len(encoded), len(ids)), self._finish(ids, max_new_tokens))

    def _generate(self, encoded: Encoded, most: int, temperature: float) -> list[int]:
        hf: Any = self.model.hf
        drawn: dict[str, Any] = {"do_sample": False}
        if temperature:
            drawn = {"do_sample": True, "temperature": temperature, "top_k": 0}
        ids = torch.from_numpy(encoded.ids)[None].to(self.model.device)
        with lock_of(hf), _decoding(hf, pad_token_id=pad_id(self.model), max_time=self.timeout, **drawn):
            made = hf.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                return_dict_in_generate=True,
            )
        if self.prefix is not None:
            self.prefix.adopt(self.model, encoded.ids, made.past_key_values)
        out = made.sequences[0]
        return [int(token) for token in (out if self.model.anatomy.encoder_decoder else out[ids.shape[1] :])]

    def _finish(self, ids: list[int], most: int) -> Finish:
        ends = self.model.hf.generation_config.eos_token_id
        if ids and ids[-1] in (ends if isinstance(ends, list) else [ends]):
            return "stop"
        return "length" if len(ids) >= most else "timeout"


@contextmanager
def _decoding(hf: Any, **settings: Any) -> Iterator[None]:
    """These settings and the model's special tokens: what is not said, transformers takes from the model's own."""
    own = hf.generation_config
    names = ("bos_token_id", "eos_token_id", "decoder_start_token_id")
    kept = {name: getattr(own, name) for name in names if getattr(own, name) is not None}
    hf.generation_config = type(own)(**kept, **settings)
    try:
        yield
    finally:
        hf.generation_config = own


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers that follow from the seed, and no trace of it afterwards."""
    if seed is None:
        yield
        return
    with _RANDOM, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
