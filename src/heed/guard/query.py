"""Query tokens: from which tokens of the answer the attention is looked at, and what that costs in passes.

It does not know what is looked for.
"""

from typing import Literal

from heed.errors import InputError

QueryTokens = Literal["first", "all"] | int
"""From which tokens the attention is looked at: the one that predicts the first answer token, those that predict the
first n, or all of a greedily generated answer of at most `MOST_GENERATED` tokens; the mean of them."""

MOST_GENERATED = 32


def check_query_tokens(value: object) -> QueryTokens:
    """The query tokens meant; 1 is ``first``.

    Raises
    ------
    InputError
        If it is none of ``first``, ``all`` and a whole number from 1.
    """
    if value == "first" or (value == 1 and type(value) is int):
        return "first"
    if value == "all":
        return "all"
    if type(value) is not int:
        raise InputError(f"expected 'first', 'all' or a number of query tokens, found {value!r}")
    if value < 1:
        raise InputError(f"expected at least 1 query token, found {value}")
    return value


def new_tokens(query: QueryTokens) -> int:
    """How many tokens to generate: as many as passes are wanted, the prompt's own included; 0 if that one suffices."""
    if query == "first":
        return 0
    if query == "all":
        return MOST_GENERATED
    return 0 if query == 1 else query
