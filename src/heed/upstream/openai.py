"""An OpenAI-compatible server answers (extra ``openai``): messages come in, an `Answer` or a typed error goes out.

Retries, their pauses and timeouts are those of the openai SDK. Address and key come from the settings.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from time import perf_counter
from typing import Any

from heed.errors import (
    InputError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from heed.extras import require
from heed.settings import settings
from heed.text.message import Message
from heed.upstream.answer import (
    Answer,
    Finish,
    Prompt,
    Usage,
    check_settings,
    messages_of,
)

_DENIED = {
    401: "give its key (HEED_UPSTREAM_KEY, with HEED_UPSTREAM_URL at this address)",
    403: "give a key that may use this model",
    404: "correct the model's name or the address",
}
"""Statuses that any other request would meet, too, and what to do."""


class OpenAIUpstream:
    """Asks the chat completions of a server.

    Parameters
    ----------
    model
        The model's name on that server.
    base_url
        Where its API begins, such as ``http://localhost:8000/v1``; None: ``HEED_UPSTREAM_URL``.
    api_key
        None: ``HEED_UPSTREAM_KEY``, and no key where that is not set (local servers want none). The key for one address
        is never sent to another: where ``base_url`` is given and differs from the setting, give the key, too.
    timeout
        Seconds for one try.
    retries
        How often a try is repeated after a broken connection, a timeout, 408, 409, 429 or a server's own error.
    limit
        Seconds for the whole answer, to its last byte; nothing is then tried again. None: no bound over all tries.

    Raises
    ------
    ExtraMissingError
        If the openai SDK is not installed.
    InputError
        If there is no address, it is no http address, or a number is out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 2,
        limit: float | None = None,
    ) -> None:
        known = settings()
        address = base_url or known.upstream_url
        if not address or not address.startswith(("http://", "https://")):
            raise InputError(
                f"expected the address of a server (http://… or https://…), found {address!r}: give base_url, or set "
                "HEED_UPSTREAM_URL"
            )
        if not model.strip():
            raise InputError(f"expected the name of a model on {address}, found {model!r}")
        if not 0 < timeout < float("inf") or retries < 0:
            raise InputError(f"expected a timeout above 0 and retries of 0 or more, found {timeout} and {retries}")
        if limit is not None and not 0 < limit < float("inf"):
            raise InputError(f"expected a limit above 0 seconds, found {limit}")
        if api_key is None and known.upstream_key is not None and address == known.upstream_url:
            api_key = known.upstream_key.get_secret_value()
        self._sdk: Any = require("openai", extra="openai")
        self._key = api_key
        left_out = ["OpenAI-Organization", "OpenAI-Project", *([] if api_key else ["Authorization"])]
        self._headers = {name: self._sdk.Omit() for name in left_out}  # the SDK takes them from its own variables
        self._client = self._sdk.OpenAI(
            base_url=address,
            api_key=api_key or "none",
            timeout=timeout if limit is None else limit,
            max_retries=retries if limit is None else 0,
        )
        self.base_url, self._model, self._limit = address, model, limit
        self._most = "max_tokens"

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._model

    def __repr__(self) -> str:
        return f"OpenAIUpstream({self._model!r}, base_url={self.base_url!r})"

    def answer(
        self, messages: Prompt, *, max_new_tokens: int = 512, temperature: float = 0.0, seed: int | None = None
    ) -> Answer:
        """Answer messages; see `Upstream`.

        Raises
        ------
        InputError
            As `Upstream.answer`.
        UpstreamDeniedError
            If the server would refuse any request: wrong key, no such model, no such address.
        UpstreamRefusedError
            If the server does not answer this request: too many requests, bad request.
        UpstreamTimeoutError
            If it took too long, at each try, or longer than the limit.
        UpstreamUnreachableError
            If there is no connection to it.
        UpstreamError
            If it failed, or what it sent is no answer.
        """
        check_settings(max_new_tokens, temperature)
        asked = [_record(message) for message in messages_of(messages)]
        request = {"model": self._model, "messages": asked, "temperature": temperature}
        if seed is not None:
            request["seed"] = seed
        started = perf_counter()
        with self._typed_errors():
            completion = self._in_time(lambda: self._complete(request, max_new_tokens))
        return self._answer(completion, perf_counter() - started)

    def _complete(self, request: dict[str, Any], most: int) -> Any:
        """Send a request; a model that refuses ``max_tokens`` gets the newer name, from then on if that helps."""
        create = self._client.chat.completions.create
        name, newer = self._most, "max_completion_tokens"
        try:
            return create(**request, **{name: most}, extra_headers=self._headers)
        except self._sdk.BadRequestError as error:
            if name == newer or name not in _said(error):
                raise
        completion = create(**request, **{newer: most}, extra_headers=self._headers)
        self._most = newer
        return completion

    def _in_time(self, call: Callable[[], Any]) -> Any:
        """What a call gives within the limit. One that is still under way then is left alone; it tries nothing again.

        The SDK's own timeouts bound single steps: a server that sends a byte now and then would never meet one.
        """
        if self._limit is None:
            return call()
        done: Future[Any] = Future()

        def work() -> None:
            try:
                done.set_result(call())
            except BaseException as error:  # it is raised where the result is asked for
                done.set_exception(error)

        Thread(target=work, daemon=True).start()
        try:
            return done.result(self._limit)
        except TimeoutError as error:
            raise UpstreamTimeoutError(self._late()) from error

    def _late(self) -> str:
        within = "in time" if self._limit is None else f"within {self._limit:g} s"
        return f"expected an answer of {self._model} at {self.base_url} {within}, found none: allow more time"

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        sdk, where = self._sdk, f"{self._model} at {self.base_url}"
        try:
            yield
        except sdk.APITimeoutError as error:
            raise UpstreamTimeoutError(self._late()) from error
        except sdk.APIConnectionError as error:
            found = self._hidden(str(error.__cause__ or error))
            raise UpstreamUnreachableError(
                f"expected a server at {self.base_url}, found: {found}: check the address and the network"
            ) from error
        except sdk.APIStatusError as error:
            status = error.status_code
            said = f"expected an answer of {where}, found status {status}: {self._hidden(_said(error))}"
            if status in _DENIED:
                raise UpstreamDeniedError(f"{said}; {_DENIED[status]}") from error
            raise (UpstreamRefusedError if status < 500 else UpstreamError)(said) from error
        except (sdk.OpenAIError, ValueError) as error:
            raise UpstreamError(
                f"expected a chat completion of {where}, found {type(error).__name__}: {self._hidden(str(error))}"
            ) from error

    def _answer(self, completion: Any, seconds: float) -> Answer:
        choices = getattr(completion, "choices", None) or [None]
        text = getattr(getattr(choices[0], "message", None), "content", None)
        if not isinstance(text, str):
            raise UpstreamError(
                f"expected a chat completion with text of {self._model} at {self.base_url}, found "
                f"{self._hidden(repr(completion))}"
            )
        finish: Finish = "length" if choices[0].finish_reason == "length" else "stop"
        who = str(getattr(completion, "model", None) or self._model)
        return Answer(text, who, seconds, _usage(getattr(completion, "usage", None)), finish)

    def _hidden(self, text: str) -> str:
        """The first line of what a server said, without the key it may have quoted."""
        line = (text.strip().splitlines() or [""])[0]
        return (line.replace(self._key, "***") if self._key else line)[:300]


def _usage(said: Any) -> Usage | None:
    """The tokens counted, where the server says both numbers."""
    read, written = getattr(said, "prompt_tokens", None), getattr(said, "completion_tokens", None)
    return Usage(read, written) if isinstance(read, int) and isinstance(written, int) else None


def _said(error: Any) -> str:
    """The server's own message, where it sent one."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else error.message


def _record(message: Message) -> dict[str, Any]:
    """A message as the API defines it."""
    record: dict[str, Any] = {"role": str(message.role), "content": message.content}
    if message.name:
        record["name"] = message.name
    if message.tool_call_id:
        record["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        record |= {"tool_calls": calls, "content": message.content or None}
    return record
