"""The learned reading: weights over all heads, from one pass that ends at the profile's depth."""

from pathlib import Path

import numpy as np

from heed.citation.attention import Rows, looks_from
from heed.citation.question import Question
from heed.citation.reading import hear
from heed.citation.scores import Method, Scores
from heed.errors import ProfileError
from heed.model import Model
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
    model: Model, *, profile: RankingProfile | Path | str | None = None, rows: Rows | None = None
) -> Method:
    """Rank by the profile's weights over all heads; rows of the answer where there is one, else of the question.

    Raises
    ------
    ProfileError
        If there is no profile for this model.
    """
    own = find_ranking(model, profile)

    def score(question: Question) -> Scores:
        response = looks_from(question, rows)
        kind = "response" if response else "question"
        heard = hear(model, question, response=response, depth=own.depth(kind))
        mass = heard.whole[None] if response else heard.mass
        each = [own.score(group[None], kind=kind) for group in heard.mass] if response else []
        return Scores(
            values=own.score(mass, kind=kind),
            passes=heard.windows,
            sentences=np.stack(each) if each else None,
            context_mass=heard.context_mass,
            windows=heard.windows,
        )

    return score
