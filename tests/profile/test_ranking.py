"""Ranking profiles: scored, saved, refused for other models."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from heed.errors import ProfileError
from heed.profile import RankingProfile, load_profile
from heed.profile.ranking import contrasts


@dataclass(frozen=True)
class Identity:
    name: str = "tiny"
    fingerprint: str = "f00"

    @property
    def anatomy(self):
        return SimpleNamespace(layers=3, heads=2)


def profile(**more) -> RankingProfile:
    rng = np.random.default_rng(0)
    fields = {
        "task": "cite",
        "model": "tiny",
        "n_layers": 3,
        "n_heads": 2,
        "weights": {"question": rng.normal(size=(2, 3, 2)).astype(np.float32)},
        "fingerprints": ("f00",),
    }
    return RankingProfile(**fields | more)


def test_contrasts_hold_candidates_against_each_other() -> None:
    mass = np.array([[0.1, 0.2, 0.4], [0.3, 0.3, 0.3]])
    found = contrasts(mass)
    np.testing.assert_allclose(found.sum(-1), 0.0, atol=1e-12)
    spread = np.log(2) * np.sqrt(2 / 3)
    np.testing.assert_allclose(found[0], np.array([-1, 0, 1]) * np.log(2) / (spread + 0.05), atol=1e-4)
    np.testing.assert_array_equal(found[1], 0.0)
    np.testing.assert_allclose(contrasts(mass * 0.5), found, atol=1e-4)  # how much reaches all of them falls out


def test_the_score_is_linear_in_the_contrasts() -> None:
    own = profile()
    mass = np.random.default_rng(1).uniform(0, 0.2, (2, 3, own.n_heads, 7))
    wanted = sum(
        own.weights["question"][g, layer, head] * contrasts(mass)[g, layer, head]
        for g in range(2)
        for layer in range(3)
        for head in range(own.n_heads)
    )
    np.testing.assert_allclose(own.score(mass, kind="question"), wanted, atol=1e-5)
    assert own.depth("question") == 3


def test_it_is_saved_and_read_again(tmp_path) -> None:
    own = profile(quality={"question": {"rows": 7}}, method="depth 3")
    own.save(tmp_path / "p.json")
    again = load_profile(tmp_path / "p.json")
    assert isinstance(again, RankingProfile)
    assert (again.digest, again.quality, again.method) == (own.digest, own.quality, own.method)
    np.testing.assert_array_equal(again.weights["question"], own.weights["question"])


@pytest.mark.parametrize(
    "damage",
    [
        {"weights": {}},
        {"weights": {"question": {"shape": [2, 3, 1], "data": "AAAA"}}},
        {"weights": {"question": {"shape": [1, 1, 1], "data": "AADAfw=="}}},
        {"weights": 3},
        {"n_heads": None},
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage) -> None:
    path = tmp_path / "p.json"
    profile().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ProfileError, match="fit"):
        load_profile(path)


def test_other_models_are_refused() -> None:
    own = profile()
    own.refuse_other(Identity())
    with pytest.raises(ProfileError, match="heed cite fit"):
        own.refuse_other(Identity(fingerprint="other"))
    with pytest.raises(ProfileError, match="heed cite fit"):
        profile(n_layers=77).refuse_other(Identity())
