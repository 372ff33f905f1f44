"""500 figures of every kind leave no memory behind: none is closed by hand, and none can be found afterwards.

The first 50 warm fonts, colour maps and the allocator up; what 450 more add is what one figure leaves. Each is drawn
into bytes, as `Picture.png` does.
"""

import gc

import numpy as np

from harness import Claim, at_most, main, pick
from heed.picture import show, synthetic
from machine import held_bytes

GROWTH_MB = 20
_KINDS = ("map", "heads", "entropy", "focus")


def live() -> int:
    """How many figures there are."""
    from matplotlib.figure import Figure

    gc.collect()
    return sum(issubclass(type(one), Figure) for one in gc.get_objects())


def measure() -> list[Claim]:
    """Draw them."""
    warm, count = pick((50, 450), (10, 40))
    pictures = [show(synthetic(name, 48)) for name in ("previous", "induction")]
    sizes = []

    def draw(times: int) -> None:
        for place in range(times):
            sizes.append(len(pictures[place % 2].png(kind=_KINDS[place % len(_KINDS)])))

    draw(warm)
    live()
    before = held_bytes()
    draw(count)
    left = live()
    grown = (held_bytes() - before) / 1e6
    details = {"figures": warm + count, "median bytes of a PNG": int(np.median(sizes))}
    return [
        at_most(f"memory that {count} figures leave behind", grown, GROWTH_MB, details, unit="MB"),
        at_most(f"figures that are left of {warm + count}", left, 0, unit=""),
    ]


if __name__ == "__main__":
    main(__file__, measure)
