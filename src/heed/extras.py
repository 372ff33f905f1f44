"""Optional libraries: imported where they are used, or an error that names the extra which brings them."""

from importlib import import_module
from types import ModuleType

from heed.errors import ExtraMissingError


def require(module: str, *, extra: str) -> ModuleType:
    """Import ``module``, or say which extra of heed installs it.

    Raises
    ------
    ExtraMissingError
        If the library is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ExtraMissingError(
            f"expected the library {name!r}, found none installed: pip install 'heed[{extra}]'"
        ) from error
