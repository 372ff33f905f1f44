"""What heed needs of a tokenizer: a Hugging Face *fast* tokenizer, described without importing one."""

from collections.abc import Sequence
from typing import Any, Protocol

from heed.errors import InputError


class FastTokenizer(Protocol):
    """The part of a Hugging Face fast tokenizer that heed uses."""

    @property
    def backend_tokenizer(self) -> Any:
        """The ``tokenizers.Tokenizer`` behind it."""
        ...

    @property
    def chat_template(self) -> Any:
        """The Jinja source, a dict of them, or None."""
        ...

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[Any] | None = None,
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = False,
    ) -> Any:
        """Write messages as text (``tokenize=False``)."""
        ...


def backend_of(tokenizer: FastTokenizer) -> Any:
    """The ``tokenizers.Tokenizer`` behind a fast tokenizer.

    Raises
    ------
    InputError
        If there is none: without it, tokens have no character offsets.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"expected a fast tokenizer, found {type(tokenizer).__name__}, whose tokens have no character offsets;"
            " load one with a tokenizer.json (transformers: use_fast=True)"
        )
    return backend
