"""What a caller may have meant by a name that is unknown, for the end of an error message."""

from collections.abc import Collection
from difflib import get_close_matches


def nearest(name: str, known: Collection[str]) -> str:
    """The nearest known names, or all of them."""
    close = get_close_matches(name, known, 3)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else f"; it has {', '.join(known)}"
