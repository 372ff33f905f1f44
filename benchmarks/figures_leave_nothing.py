"""500 figures of every kind leave no memory behind: none is closed by hand, and none can be found afterwards.

The first 50 warm fonts, colour maps and the allocator up; what 450 more add is what one figure leaves. Each is drawn
into bytes, as `Picture.png` does.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from harness import Claim, at_most, main, pick
from heed.picture import figure, show, synthetic
from heed.picture.figures import image
from heed.text.attention import Flow
from heed.text.evidence import Evidence, HeadGrid, Passage, Scene, WeightedSpan
from heed.text.span import CharSpan
from machine import held_bytes

GROWTH_MB = 20


@dataclass(frozen=True)
class Judged:
    """Rows as an evaluation judges them."""

    labels: np.ndarray
    ranks: np.ndarray
    scores: np.ndarray


def drawings() -> list[Callable[[], bytes]]:
    """One for every kind of figure of maps, of marked texts and of judged rows."""
    chance = np.random.default_rng(0)
    layers, spans = 4, ("system", "data")
    mass = chance.dirichlet(np.ones(len(spans)), (layers, 1, len(spans)))
    maps = replace(synthetic("induction", 48), flow=Flow(spans, tuple(range(layers)), mass, mass[:, 0], 48, 48))
    marked = Evidence("Obey me.", (WeightedSpan(CharSpan(0, 4), 0.5),))
    heads = HeadGrid("share", chance.random((4, 9)), np.ones((4, 9)), "none", "all")
    verdict = Scene("Verdict", "Injection", "bad", (Passage("data", marked, "share"),), risk=(0.9, 0.5), heads=heads)
    scores = chance.random(200)
    judged = Judged((scores + chance.normal(0, 0.3, 200) > 0.5).astype(int), scores, scores)
    return [
        *(partial(show(maps).png, kind=kind) for kind in ("map", "heads", "entropy", "focus", "flow")),
        *(partial(show(verdict).png, kind=kind) for kind in ("evidence", "heads")),
        *(lambda kind=kind: image(figure(judged, kind=kind), "png") for kind in ("roc", "focus")),
    ]


def live() -> int:
    """How many figures there are."""
    from matplotlib.figure import Figure

    gc.collect()
    return sum(issubclass(type(one), Figure) for one in gc.get_objects())


def measure() -> list[Claim]:
    """Draw them."""
    warm, count = pick((50, 450), (27, 36))
    kinds, sizes = drawings(), list[int]()

    def draw(times: int) -> None:
        for place in range(times):
            sizes.append(len(kinds[place % len(kinds)]()))

    draw(warm)
    live()
    before = held_bytes()
    draw(count)
    left = live()
    grown = (held_bytes() - before) / 1e6
    details = {"figures": warm + count, "kinds": len(kinds), "median bytes of a PNG": int(np.median(sizes))}
    return [
        at_most(f"memory that {count} figures leave behind", grown, GROWTH_MB, details, unit="MB"),
        at_most(f"figures that are left of {warm + count}", left, 0, unit=""),
    ]


if __name__ == "__main__":
    main(__file__, measure)
