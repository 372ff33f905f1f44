"""heed shows what a language model attends to, and acts on it.

The rooms, in the order of the flow: words (`heed.text`) → tokens and spans → one forward pass with probes
(`heed.model`, `heed.interface`, `heed.probe`) → reductions (`heed.reduce`) → a profile (`heed.profile`) → a verdict
(`heed.guard`) or a picture (`heed.picture`). Importing heed imports no torch: each name is fetched when it is used.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heed.citation import Citation as Citation
    from heed.citation import cite as cite
    from heed.errors import HeedError as HeedError
    from heed.guard import Guard as Guard
    from heed.guard import MessagesVerdict as MessagesVerdict
    from heed.guard import PartVerdict as PartVerdict
    from heed.guard import Sanitized as Sanitized
    from heed.guard import Verdict as Verdict
    from heed.interface import install as install
    from heed.interface import load_distance as load_distance
    from heed.interface import register_attention as register_attention
    from heed.interface import uninstall as uninstall
    from heed.model import Model as Model
    from heed.model import load as load
    from heed.model import wrap as wrap
    from heed.picture import Picture as Picture
    from heed.picture import figure as figure
    from heed.picture import show as show
    from heed.probe import Trace as Trace
    from heed.probe import check as check
    from heed.probe import trace as trace
    from heed.profile import Profile as Profile

__version__ = "0.1.0"

_HOME = {
    "Citation": "heed.citation",
    "Guard": "heed.guard",
    "HeedError": "heed.errors",
    "MessagesVerdict": "heed.guard",
    "Model": "heed.model",
    "PartVerdict": "heed.guard",
    "Picture": "heed.picture",
    "Profile": "heed.profile",
    "Sanitized": "heed.guard",
    "Trace": "heed.probe",
    "Verdict": "heed.guard",
    "check": "heed.probe",
    "cite": "heed.citation",
    "figure": "heed.picture",
    "install": "heed.interface",
    "load": "heed.model",
    "load_distance": "heed.interface",
    "register_attention": "heed.interface",
    "show": "heed.picture",
    "trace": "heed.probe",
    "uninstall": "heed.interface",
    "wrap": "heed.model",
}

__all__ = [*_HOME]  # noqa: PLE0604 - the table is the list


logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent until the application wants logs


def __getattr__(name: str) -> Any:
    """Fetch a public name from its room."""
    if name not in _HOME:
        raise AttributeError(f"module 'heed' has no attribute {name!r}; it has {', '.join(_HOME)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
