"""A session: one model switched to heed's attention for a while, and who listens.

The switch is made under a lock for the model and undone in ``finally``, back to whatever each configuration
said before; the listener is a context variable, so other threads and other models never hear each other.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock, RLock
from typing import TYPE_CHECKING
from weakref import finalize

from torch import nn

from heed.errors import UnsupportedModelError

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
_LOCKS: dict[int, RLock] = {}
_LOCKS_GUARD = Lock()


def active() -> Session | None:
    """The session of this thread, if one is open."""
    return _ACTIVE.get()


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
        If the model's attention does not go through the attention interface, or is in training mode.
    """
    from heed.interface.names import NAME, register

    register()
    _refuse_unreadable(hf)
    with attending_as(hf, NAME):
        if hf.config._attn_implementation != NAME:
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
    """Let the model attend by another implementation for a while, under its lock; every part is put back after."""
    with lock_of(hf):
        before = [(config, config._attn_implementation) for config in _configs(hf)]
        try:
            hf.set_attn_implementation(name)
            yield
        finally:
            for config, own in before:
                config._attn_implementation = own


def lock_of(hf: "PreTrainedModel") -> RLock:
    """The one lock under which a model is read: it belongs to the configuration, which a model and its parts share."""
    config = hf.config
    with _LOCKS_GUARD:
        if id(config) not in _LOCKS:
            _LOCKS[id(config)] = RLock()
            finalize(config, _LOCKS.pop, id(config), None)
        return _LOCKS[id(config)]


def _configs(hf: "PreTrainedModel") -> list["PreTrainedConfig"]:
    """Every configuration a switch may touch, parents before their parts: restoring runs in this order."""
    from transformers import PreTrainedModel

    found: dict[int, PreTrainedConfig] = {}
    pending = [module.config for module in hf.modules() if isinstance(module, PreTrainedModel)]
    for config in pending:
        if id(config) not in found:
            found[id(config)] = config
            parts = (getattr(config, name, None) for name in config.sub_configs)
            pending.extend(part for part in parts if part is not None)
    return list(found.values())


def _refuse_unreadable(hf: "PreTrainedModel") -> None:
    if hf.training:
        raise UnsupportedModelError("expected a model in eval mode, found training mode: call model.eval()")
    can_set = getattr(hf, "_can_set_attn_implementation", None)
    if can_set is not None and not can_set():
        raise _bypasses(hf)


def _bypasses(hf: "PreTrainedModel") -> UnsupportedModelError:
    return UnsupportedModelError(
        f"expected a model that attends through transformers' AttentionInterface, found {type(hf).__name__} "
        f"({hf.config.model_type}), which has attention code of its own: heed cannot read it exactly"
    )
