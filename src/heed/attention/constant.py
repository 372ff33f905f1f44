"""Functions whose results torch.compile may take as constants."""

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def constant(function: Function) -> Function:
    """Let torch.compile call the function while it traces and keep what it gave.

    The mark is what `torch.compiler.assume_constant_result` sets; calling that imports the whole compiler (1.5 s).
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
