"""The learned reading: weights over all heads, from one pass that ends at the profile's depth."""

from pathlib import Path

import numpy as np

from heed.citation.attention import HeardMethod, Rows
from heed.citation.reading import Heard
from heed.citation.scores import Scores
from heed.errors import ProfileError
from heed.model import Model
from heed.probe import PrefixCache
from heed.profile import AnyProfile, RankingProfile, find_profile

TASK = "cite"


def find_ranking(model: Model, profile: RankingProfile | Path | str | None = None) -> RankingProfile:
    """The profile given, or the one fitted or shipped for these weights.

    Raises
    ------
    ProfileError
        If there is none, it is no profile of citations, or of another model.
    """
    found: AnyProfile
    if isinstance(profile, RankingProfile):
        found = profile
    else:
        found = find_profile(model, task=TASK, folder=None if profile is None else Path(profile))
    if not isinstance(found, RankingProfile) or found.task != TASK:
        raise ProfileError("expected a profile made by `heed cite fit`, found one of another task: name that one")
    found.refuse_other(model)
    return found


def learned_method(
    model: Model,
    *,
    profile: RankingProfile | Path | str | None = None,
    rows: Rows | None = None,
    prefix: PrefixCache | None = None,
) -> HeardMethod:
    """Rank by the profile's weights over all heads; rows of the answer where there is one, else of the question.

    Raises
    ------
    ProfileError
        If there is no profile for this model.
    """
    own = find_ranking(model, profile)

    def weigh(heard: Heard, response: bool) -> Scores:
        kind = "response" if response else "question"
        mass = heard.mass[:, : own.depth(kind)]
        whole = np.average(mass, axis=0, weights=heard.rows)[None] if response else mass
        each = [own.score(group[None], kind=kind) for group in mass] if response else []
        return Scores(
            values=own.score(whole, kind=kind),
            passes=heard.windows,
            sentences=np.stack(each) if each else None,
            context_mass=heard.context_mass,
            windows=heard.windows,
        )

    return HeardMethod(model, weigh, rows, lambda response: own.depth("response" if response else "question"), prefix)
