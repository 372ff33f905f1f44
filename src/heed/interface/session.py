"""A session: one model switched to heed's attention for a while, and who listens.

The switch is made under a lock for the model and undone in ``finally``, back to whatever each configuration
said before; the listener is a context variable, so other threads and other models never hear each other.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock, RLock
from typing import TYPE_CHECKING
from weakref import finalize

import torch
from torch import nn

from heed.errors import UnsupportedModelError
from heed.interface.distance import IMPLEMENTATIONS, RECORD, parts_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from heed.interface.call import Call


class StopForward(Exception):  # noqa: N818 - a signal, not an error: the deepest wanted layer has been heard
    """Leaves the forward pass; never escapes a session."""


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """Who listens to which modules, and the module after which the pass may end."""

    modules: Collection[nn.Module]
    observe: "Callable[[Call], None]"
    last: nn.Module | None = None

    def hears(self, module: nn.Module) -> bool:
        """Whether this module is listened to."""
        return module in self.modules


_ACTIVE: ContextVar[Session | None] = ContextVar("heed_session", default=None)
_WEIGHTS: ContextVar[bool] = ContextVar("heed_weights", default=False)
_LOCKS: dict[int, RLock] = {}
_LOCKS_GUARD = Lock()


def active() -> Session | None:
    """The session of this thread, if one is open; torch.compile traces no context, and compiles no reading."""
    return None if torch.compiler.is_compiling() else _ACTIVE.get()


def wants_weights() -> bool:
    """Whether this thread runs a model to see its weights, as eager attention gives them."""
    return False if torch.compiler.is_compiling() else _WEIGHTS.get()


@contextmanager
def listening(
    hf: "PreTrainedModel",
    observe: "Callable[[Call], None]",
    *,
    modules: Collection[nn.Module],
    last: nn.Module | None = None,
) -> Iterator[None]:
    """Let ``observe`` hear each attention call of ``modules`` until the block is left.

    The pass ends quietly once ``last`` has been heard.

    Raises
    ------
    UnsupportedModelError
        If the model's attention does not go through the attention interface, is in training mode, or is not the one
        that its configuration records.
    """
    from heed.interface.names import NAME, register

    register()
    _refuse_unreadable(hf)
    with attending_as(hf, NAME):
        if hf.config._attn_implementation not in (NAME, *IMPLEMENTATIONS):
            raise _bypasses(hf)
        token = _ACTIVE.set(Session(modules, observe, last))
        try:
            yield
        except StopForward:
            pass
        finally:
            _ACTIVE.reset(token)


@contextmanager
def attending_as(hf: "PreTrainedModel", name: str) -> Iterator[None]:
    """Let the model attend by another implementation for a while, under its lock; every part is put back after.

    A part that attends by distance goes on doing so: no other implementation computes what it computes. Under "eager"
    it gives its weights, as eager attention does.
    """
    with lock_of(hf):
        before = [(config, config._attn_implementation) for config in configs_of(hf)]
        token = _WEIGHTS.set(name == "eager")
        try:
            if any(own in IMPLEMENTATIONS for _, own in before):
                switch((config, name) for config, own in before if own not in IMPLEMENTATIONS)
            else:
                hf.set_attn_implementation(name)
            yield
        finally:
            _WEIGHTS.reset(token)
            switch(before)


def switch(names: "Iterable[tuple[PreTrainedConfig, str | None]]") -> None:
    """Give each configuration its implementation, and no other one: transformers' own setter reaches the parts too."""
    for config, name in names:
        config._attn_implementation_internal = name


def lock_of(hf: "PreTrainedModel") -> RLock:
    """The one lock under which a model is read: it belongs to the configuration, which a model and its parts share."""
    config = hf.config
    with _LOCKS_GUARD:
        if id(config) not in _LOCKS:
            _LOCKS[id(config)] = RLock()
            finalize(config, _LOCKS.pop, id(config), None)
        return _LOCKS[id(config)]


def configs_of(hf: "PreTrainedModel") -> list["PreTrainedConfig"]:
    """Every configuration a switch may touch."""
    from transformers import PreTrainedModel

    whole = [module.config for module in hf.modules() if isinstance(module, PreTrainedModel)]
    found = {id(part): part for config in whole for part in parts_of(config)}
    return list(found.values())


def _refuse_unreadable(hf: "PreTrainedModel") -> None:
    if hf.training:
        raise UnsupportedModelError("expected a model in eval mode, found training mode: call model.eval()")
    for config in configs_of(hf):
        if getattr(config, RECORD, None) is not None and config._attn_implementation not in IMPLEMENTATIONS:
            raise UnsupportedModelError(
                f"expected the distance attention that the configuration of {type(hf).__name__} records, found "
                f"{config._attn_implementation!r}: load the model with heed.load, or call heed.uninstall(model)"
            )
    can_set = getattr(hf, "_can_set_attn_implementation", None)
    if can_set is not None and not can_set():
        raise _bypasses(hf)


def _bypasses(hf: "PreTrainedModel") -> UnsupportedModelError:
    return UnsupportedModelError(
        f"expected a model that attends through transformers' AttentionInterface, found {type(hf).__name__} "
        f"({hf.config.model_type}), which has attention code of its own: heed cannot read it exactly"
    )
