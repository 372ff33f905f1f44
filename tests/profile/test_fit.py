"""Choosing heads: planted heads are found, length is not mistaken for them, left-out really is left out."""

import numpy as np
import pytest

from heed.errors import InputError
from heed.profile import risk
from heed.profile.fit import Labelled, left_out, margin, mean_auroc, separation, stability


def planted(groups: int = 3, rows: int = 60, *, seed: int = 0) -> Labelled:
    """Head (1, 0) falls under attack, head (2, 1) rises, the others say nothing; data sets differ in level."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], groups * rows // 2)
    names = np.repeat([f"g{i}" for i in range(groups)], rows)
    level = rng.normal(0, 0.1, (groups, 1, 1))[np.repeat(range(groups), rows)]
    shares = rng.normal(0.5, 0.05, (len(labels), 3, 2)) + level
    shares[labels == 1, 1, 0] -= 0.3
    shares[labels == 1, 2, 1] += 0.3
    return Labelled(shares.clip(0, 1), labels, names)


def test_margin_finds_the_planted_heads_and_their_direction() -> None:
    weights = margin(1.5)(planted())
    assert np.argwhere(weights).tolist() == [[1, 0], [2, 1]]
    assert weights[1, 0] == pytest.approx(0.5)
    assert weights[2, 1] == pytest.approx(-0.5)


def test_margin_too_strict_keeps_the_best_head() -> None:
    assert (margin(99.0)(planted()) != 0).sum() == 1


def test_separation_is_the_papers_margin() -> None:
    """Head kept iff (m0 - k s0) - (m1 + k s1) > 0."""
    data = planted(groups=1)
    calm, loud = data.shares[data.labels == 0], data.shares[data.labels == 1]
    for k in (0.5, 2.0):
        paper = (calm.mean(0) - k * calm.std(0)) - (loud.mean(0) + k * loud.std(0)) > 0
        assert (paper == (separation(data) > k)).all()


def test_layers_beyond_the_depth_are_not_chosen() -> None:
    assert np.argwhere(margin(1.5)(planted().layers(2))).tolist() == [[1, 0]]


def test_risk_is_high_for_attacks_and_in_range() -> None:
    data = planted()
    scores = risk(margin(1.5)(data), data.shares, baseline="none")
    assert scores[data.labels == 1].min() > scores[data.labels == 0].mean()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_left_out_scores_never_see_their_own_data_set() -> None:
    """A head that separates in one data set alone must not help there."""
    data = planted(groups=2)
    rng = np.random.default_rng(1)
    shares = rng.normal(0.5, 0.05, data.shares.shape)
    own = data.groups == "g0"
    shares[own & (data.labels == 1), 0, 0] -= 0.4
    alone = Labelled(shares, data.labels, data.groups)
    assert mean_auroc(alone.rows(own), risk(margin(0.5)(alone), shares[own], baseline="none")) > 0.95
    unseen = left_out(alone, margin(0.5))
    assert mean_auroc(alone.rows(own), unseen[own]) < 0.75


def test_stability_tells_planted_heads_from_noise() -> None:
    data = planted()
    noise = Labelled(np.random.default_rng(3).normal(0.5, 0.1, data.shares.shape), data.labels, data.groups)
    assert stability(data, margin(1.5)) == 1.0
    assert stability(noise, margin(0.05)) < 0.9


def test_one_class_alone_is_an_error() -> None:
    data = planted()
    with pytest.raises(InputError, match="a data set with benign and injected rows"):
        separation(data.rows(data.labels == 0))
