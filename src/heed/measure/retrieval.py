"""How well a ranking finds what it should: a ranking of ids and the gold ids come in, a number in [0, 1] goes out.

An id is anything hashable. This module does not know what was ranked or how.
"""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence

from heed.errors import InputError


def recall_at(ranking: Sequence[Hashable], gold: Collection[Hashable], k: int) -> float:
    """The share of the gold ids that are among the first ``k`` of the ranking (best first; it may be shorter).

    Raises
    ------
    InputError
        If ``k`` is below 1, there is no gold id, or an id stands twice in the ranking.
    """
    _check(ranking, k)
    wanted = set(gold)
    if not wanted:
        raise InputError("expected at least one gold id, found none: leave such questions out of the mean")
    return len(wanted.intersection(ranking[:k])) / len(wanted)


def ndcg(
    ranking: Sequence[Hashable], gold: Collection[Hashable] | Mapping[Hashable, float], k: int | None = None
) -> float:
    """Normalized discounted cumulative gain of the first ``k`` of the ranking (None: of all of it).

    An id at place i (from one) adds ``gain / log2(i + 1)``; the sum is divided by that of the best ranking possible.
    ``gold`` maps ids to their gains, or is a collection of ids that gain 1 each; other ids gain 0.
    Järvelin and Kekäläinen, ACM Transactions on Information Systems 20 (2002).

    Raises
    ------
    InputError
        If ``k`` is below 1, no gain is above 0, a gain is negative or not finite, or an id stands twice in the ranking.
    """
    _check(ranking, k)
    gains = dict(gold) if isinstance(gold, Mapping) else dict.fromkeys(gold, 1.0)
    if any(not math.isfinite(gain) or gain < 0 for gain in gains.values()) or not any(gains.values()):
        raise InputError(
            f"expected finite gains >= 0, at least one above 0, found {list(gains.values())[:5]}: "
            "leave questions without a gold id out of the mean"
        )
    best = sorted(gains.values(), reverse=True)[:k]
    return _discounted([gains.get(name, 0.0) for name in ranking[:k]]) / _discounted(best)


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(place + 1) for place, gain in enumerate(gains, 1))


def _check(ranking: Sequence[Hashable], k: int | None) -> None:
    if k is not None and k < 1:
        raise InputError(f"expected k >= 1, found {k}: choose how many places count")
    if len(set(ranking)) != len(ranking):
        raise InputError(
            f"expected each id once in the ranking, found {len(ranking)} places for {len(set(ranking))} ids"
        )
