"""Profiles: scoring, refusal, saving, and those that ship."""

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from heed.errors import ProfileError
from heed.profile import PROFILE_FILE, Profile, find_profile, fitted_folder, risk, shipped_profiles
from heed.reduce.contrast import difference, normalize_sum, ratio


@dataclass(frozen=True)
class Identity:
    name: str = "tiny"
    fingerprint: str = "f00"
    layers: int = 3
    heads: int = 2

    @property
    def anatomy(self):
        return SimpleNamespace(layers=self.layers, heads=self.heads)


def profile(**more) -> Profile:
    fields = {"task": "guard", "model": "tiny", "n_layers": 3, "n_heads": 2, "heads": np.array([[0, 1], [2, 0]]),
              "weights": np.array([0.75, -0.25]), "fingerprints": ("f00",)}  # fmt: skip
    return Profile(**fields | more)


def test_score_weighs_heads_and_turns_negative_ones_round() -> None:
    own = np.array([[[0.0, 0.3], [0.4, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])  # B, layers 0 and 2, H
    other = np.array([[[0.0, 0.1], [0.1, 0.0]], [[0.0, 0.5], [0.5, 0.0]]])
    got = profile().score(own, other)
    shares = np.array([[0.75, 0.8], [0.0, 0.0]])
    wanted = 1 - (0.75 * shares[:, 0] + 0.25 * (1 - shares[:, 1]))
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert ((got >= 0) & (got <= 1)).all()


def test_baseline_of_all_heads_drops_what_moves_all_of_them() -> None:
    """A longer text lowers every head's share; the risk must not follow."""
    rng = np.random.default_rng(0)
    own, other = rng.uniform(0.3, 0.4, (1, 3, 2)), rng.uniform(0.1, 0.2, (1, 3, 2))
    plain, held = profile(aggregation="difference"), profile(aggregation="difference", baseline="all_heads")
    assert held.layers == (0, 1, 2)
    moved = own - 0.1
    assert abs(held.score(own, other) - held.score(moved, other))[0] < 1e-9
    picked = [0, 2]
    assert (
        abs(plain.score(own[:, picked], other[:, picked]) - plain.score(moved[:, picked], other[:, picked]))[0] > 0.01
    )


@pytest.mark.parametrize("baseline", ["none", "all_heads"])
def test_contributions_add_up_to_the_risk(baseline) -> None:
    """With normalize_sum and weights of one sign the risk without a token is lower by what the token adds."""
    rng = np.random.default_rng(2)
    held = profile(baseline=baseline, weights=np.array([0.5, 0.5]))
    layers = len(held.layers)
    rows = rng.random((layers, 2, 7)) / 10
    own, other = rng.random((layers, 2)), rows.sum(-1)
    added = held.contributions(rows, own, other)
    assert (added >= 0).all()
    if baseline == "none":
        np.testing.assert_allclose(added.sum(), held.score(own[None], other[None])[0], atol=1e-6)
    spike = rows.copy()
    spike[-1, 0, 3] += 0.5  # head (2, 0) looks at token 3
    assert held.contributions(spike, own, spike.sum(-1)).argmax() == 3


@pytest.mark.parametrize("baseline", ["none", "all_heads"])
def test_risk_stays_in_range(baseline) -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(3, 2))
    values = risk(weights / np.abs(weights).sum(), rng.random((500, 3, 2)), baseline=baseline)
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("aggregate", [normalize_sum, ratio, difference])
def test_aggregations_are_shares(aggregate) -> None:
    rng = np.random.default_rng(0)
    own = rng.random(1000) * 0.5
    other = rng.random(1000) * 0.5
    value = aggregate(own, other)
    assert ((value >= 0) & (value <= 1)).all()
    assert np.corrcoef(value, own - other)[0, 1] > 0.5


def test_depth_and_layers() -> None:
    assert profile().layers == (0, 2)
    assert profile().depth == 3


def test_saved_profile_is_the_same_profile(tmp_path) -> None:
    profile(quality={"auroc": 0.9}, source="here").save(tmp_path / "p.json")
    again = Profile.load(tmp_path / "p.json")
    assert again.digest == profile().digest
    assert again.quality == {"auroc": 0.9}
    assert again.fingerprints == ("f00",)
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a profile in"),
        ("[]", "expected profile version 1, found list"),
        ('{"version": 99}', "expected profile version 1, found 99"),
        ('{"version": 1}', "KeyError"),
        (json.dumps({"version": 1, "heads": [[0, 0, 1]], "fingerprints": [], "surprise": 1}), "surprise"),
    ],
)
def test_a_damaged_profile_says_what_is_wrong(tmp_path, text, message) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ProfileError, match=message):
        Profile.load(tmp_path / "p.json")


def test_a_missing_profile_is_an_error(tmp_path) -> None:
    with pytest.raises(ProfileError, match="expected a profile in"):
        Profile.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "more",
    [
        {"heads": np.array([[0, 1], [3, 0]])},
        {"heads": np.array([[0, 2], [2, 0]])},
        {"weights": np.array([0.75, 0.75])},
        {"heads": np.zeros((0, 2), int), "weights": np.zeros(0)},
        {"aggregation": "softmax"},
        {"baseline": "some"},
        {"provenance": "guessed"},
        {"heads": np.array([[0, 1], [0, 1]])},
        {"heads": np.array([[0.0, 1.0], [2.0, 0.5]])},
        {"weights": np.array([0.75, np.nan])},
        {"weights": np.array([[0.75], [0.25]])},
        {"n_heads": True, "heads": np.array([[0, 0], [2, 0]])},
        {"n_layers": 3.0},
    ],
)
def test_an_impossible_profile_is_refused(more) -> None:
    with pytest.raises(ProfileError, match="expected"):
        profile(**more)


def test_another_models_profile_is_refused() -> None:
    profile().refuse_other(Identity())
    with pytest.raises(ProfileError, match=r"expected the weights of tiny \(f00\), found other \(bad\).*guard fit"):
        profile().refuse_other(Identity(name="other", fingerprint="bad"))
    with pytest.raises(ProfileError, match=r"expected 3 layers x 2 heads .* found 4 x 2"):
        profile().refuse_other(Identity(layers=4))


@pytest.mark.parametrize("heads", [[[0, 0.5, 1]], [[0, None, 1]], [[0, 0, float("nan")]], [[0, 0]], [0, 0, 1], []])
def test_damaged_heads_are_refused_by_name(tmp_path, heads) -> None:
    profile().save(tmp_path / "p.json")
    value = json.loads((tmp_path / "p.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps(value | {"heads": heads}))
    with pytest.raises(ProfileError, match=r"expected .*p\.json"):
        Profile.load(tmp_path / "p.json")


@pytest.mark.parametrize(
    "name", ["Org/Tiny-1B", "org/tiny-1b", "/models/Tiny-1B", "/models/tiny-1b/", "C:\\m\\Tiny-1B"]
)
def test_without_fingerprints_the_name_must_fit(name) -> None:
    published = profile(model="Org/Tiny-1B", fingerprints=())
    published.refuse_other(Identity(name=name))
    for other in ("Org/Tiny-1B-base", "Org", "tiny", "", "/"):
        with pytest.raises(ProfileError, match=r"expected Org/Tiny-1B .*so the name must fit.*heed guard fit"):
            published.refuse_other(Identity(name=other))


def test_a_profile_fitted_here_comes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HEED_PROFILES_DIR", str(tmp_path))
    with pytest.raises(ProfileError, match=r"expected a guard profile for tiny .*heed guard fit --model tiny"):
        find_profile(Identity(), task="guard")
    profile().save(fitted_folder(tmp_path, Identity(), task="guard") / PROFILE_FILE)
    assert find_profile(Identity(), task="guard").digest == profile().digest
    other = replace(profile(), aggregation="ratio")
    other.save(tmp_path / "mine" / PROFILE_FILE)
    assert find_profile(Identity(), task="guard", folder=tmp_path / "mine").aggregation == "ratio"
    assert find_profile(Identity(), task="guard", folder=tmp_path / "mine" / PROFILE_FILE).aggregation == "ratio"


def test_published_heads_are_found_by_name_and_marked(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HEED_PROFILES_DIR", str(tmp_path))
    qwen = Identity(name="Qwen/Qwen2-1.5B-Instruct", layers=28, heads=12)
    found = find_profile(qwen, task="guard")
    assert found.provenance == "published"
    assert len(found.heads) == 14
    assert found.depth == 20
    found.refuse_other(qwen)
    folder = Identity(name="/models/qwen2-1.5b-instruct", layers=28, heads=12)
    assert find_profile(folder, task="guard").digest == found.digest


def test_every_shipped_profile_loads() -> None:
    shipped = shipped_profiles()
    published = [p for p in shipped if isinstance(p, Profile) and p.provenance == "published"]
    fitted = [p for p in shipped if p not in published]
    assert {p.model for p in published} == {
        "Qwen/Qwen2-1.5B-Instruct",
        "ibm-granite/granite-3.1-8b-instruct",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "mistralai/Mistral-7B-Instruct-v0.3",
    }
    assert all(p.fingerprints and p.data_hash and p.quality for p in fitted)
    assert fitted
