"""The model as heed passes it around: a transformers model, its tokenizer, its anatomy and where it came from.

It owns no weights of its own and changes nothing on the model it holds.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from heed.model.anatomy import Anatomy, read_anatomy
from heed.model.fingerprint import fingerprint

Origin = Literal["embedded", "folder", "gguf", "hub", "wrapped"]
"""Where a model came from."""


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model. ``hf`` and ``tokenizer`` are the very objects of transformers."""

    hf: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    """None where the model came without one: it then takes token ids only."""
    name: str
    """What `heed.load` takes to load it again (but for wrapped models)."""
    anatomy: Anatomy
    origin: Origin

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.hf.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.hf.dtype

    @property
    def context(self) -> int | None:
        """Tokens the model was built for; None: no bound."""
        return self.anatomy.context

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the weights, computed once; see `heed.model.fingerprint`."""
        return fingerprint(self.hf)

    def __repr__(self) -> str:
        a = self.anatomy
        return f"Model({self.name!r}, {a.family}, {a.layers} layers x {a.heads} heads, {self.dtype}, {self.device})"


def wrap(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, *, name: str | None = None) -> Model:
    """Take a model that is already loaded. Nothing on it is changed, not even its training mode.

    ``name``: None takes the name the model was loaded under, or its class.

    Raises
    ------
    UnsupportedModelError
        If its configuration names no attention.
    """
    known = name or getattr(hf.config, "name_or_path", None) or type(hf).__name__
    return Model(hf=hf, tokenizer=tokenizer, name=str(known), anatomy=read_anatomy(hf), origin="wrapped")
