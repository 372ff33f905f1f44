"""Learned profiles: the score by hand, what a token adds, saving, digests, refusals, and finding one by its name."""

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from heed.errors import ProfileError
from heed.profile import DEFAULT, PROFILE_FILE, LearnedProfile, Profile, find_profile, fitted_folder, load_profile
from heed.profile.learned import FLOOR, log_mass


@dataclass(frozen=True)
class Identity:
    name: str = "tiny"
    fingerprint: str = "f00"
    layers: int = 3
    heads: int = 2

    @property
    def anatomy(self):
        return SimpleNamespace(layers=self.layers, heads=self.heads)


def profile(**more) -> LearnedProfile:
    rng = np.random.default_rng(0)
    fields = {
        "task": "guard",
        "model": "tiny",
        "n_layers": 3,
        "n_heads": 2,
        "rows": (-9, -1),
        "weights": {kind: rng.normal(size=(2, 2, 2, 4)) for kind in ("given", "neutral")},
        "bias": {"given": 0.5, "neutral": -0.5},
        "window": 240,
        "question": "What now?",
        "search_cost": 0.7,
        "fingerprints": ("f00",),
    }
    return LearnedProfile(**fields | more)


def masses(texts: int = 5) -> np.ndarray:
    """``[B, R, L, H, 4]``, each row summing to 1."""
    return np.random.default_rng(1).dirichlet([0.3] * 4, (texts, 2, 2, 2))


@pytest.mark.parametrize("kind", ["given", "neutral"])
def test_the_score_is_logistic_in_the_logarithms_of_the_masses(kind) -> None:
    known, found = profile(), masses()
    wanted = []
    for text in found:
        odds = known.bias[kind]
        for place in np.ndindex(2, 2, 2, 4):
            odds += known.weights[kind][place] * np.log(text[place] + 1e-6)
        wanted.append(1 / (1 + np.exp(-odds)))
    np.testing.assert_allclose(known.score(log_mass(found), kind=kind), wanted, atol=1e-12)


def test_no_mass_and_all_of_it_are_finite_risks() -> None:
    extreme = np.zeros((1, 2, 2, 2, 4))
    extreme[..., 0] = 1.0
    steep = profile(weights={"given": np.full((2, 2, 2, 4), 1e3)}, bias={"given": 0.0})
    assert np.isfinite(profile().score(log_mass(extreme), kind="given")).all()
    assert steep.score(log_mass(extreme), kind="given")[0] == 0.0


def pooled(**more) -> LearnedProfile:
    """Two query rows and the four pools."""
    rng = np.random.default_rng(3)
    return profile(pooled=True, weights={"given": rng.normal(size=(6, 2, 2, 4))}, bias={"given": 0.1}, **more)


@pytest.mark.parametrize("known", [profile(), pooled()])
def test_what_a_token_adds_is_the_slope_of_the_log_odds(known) -> None:
    step, pools = 1e-5, np.random.default_rng(4).normal(size=(4 * known.pooled, 2, 2, 4))
    rows = np.random.default_rng(2).dirichlet([0.5] * 9, (2, 2, 2))  # R L H T
    other = slice(3, 7)

    def odds(attention: np.ndarray) -> float:
        parts = (slice(0, 2), slice(2, 3), other, slice(7, 9))
        mass = np.stack([attention[..., part].sum(-1) for part in parts], -1)
        risk = known.score(np.concatenate([log_mass(mass), pools])[None], kind="given")[0]
        return float(np.log(risk / (1 - risk)))

    shares = rows[..., other] / (rows[..., other].sum(-1, keepdims=True) + FLOOR)
    added = np.einsum("qlht,qlh->t", shares, known.pulls[sorted(known.weights).index("given")])
    for token in range(4):
        more = rows.copy()
        more[..., 3 + token] *= 1 + step
        assert (odds(more) - odds(rows)) / step == pytest.approx(added[token], abs=1e-3)


def test_a_text_is_as_bad_as_its_worst_window_less_the_price_of_searching() -> None:
    risks = np.array([0.1, 0.9, 0.3, 0.2])
    odds = np.log(9.0) - 0.7 * np.log(4)
    assert profile().of_text(risks) == pytest.approx(1 / (1 + np.exp(-odds)))
    assert profile().of_text(risks[1:2]) == 0.9
    assert profile(search_cost=0.0).of_text(risks) == pytest.approx(0.9)
    assert profile().of_text(np.array([0.0, 1.0])) == 1.0
    assert profile().of_text(np.array([0.0, 0.0])) == 0.0


def test_depth_and_layers_are_those_of_the_weights() -> None:
    assert (profile().depth, profile().layers) == (2, (0, 1))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_saved_is_the_same_profile(tmp_path, kind) -> None:
    weights = {name: array.astype(kind) for name, array in profile().weights.items()}
    known = profile(weights=weights, name="fast", source="here", method="linear", data_hash="d", quality={"auroc": 0.9})
    known.save(tmp_path / "p.json")
    again = load_profile(tmp_path / "p.json")
    assert isinstance(again, LearnedProfile)
    assert again.digest == known.digest
    for name in LearnedProfile.__dataclass_fields__:
        if name != "weights":
            assert getattr(again, name) == getattr(known, name), name
    for name, array in known.weights.items():
        np.testing.assert_array_equal(again.weights[name], array.astype(np.float32))
    found = log_mass(masses())
    np.testing.assert_allclose(again.score(found, kind="given"), known.score(found, kind="given"), atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_pools_are_saved_and_counted(tmp_path) -> None:
    known = pooled()
    known.save(tmp_path / "p.json")
    again = load_profile(tmp_path / "p.json")
    assert (again.pooled, again.digest) == (True, known.digest)
    np.testing.assert_array_equal(again.weights["given"], known.weights["given"].astype(np.float32))
    with pytest.raises(ProfileError, match=r"shape \(2, 2, 2, 4\)"):
        replace(known, pooled=False)


@pytest.mark.parametrize(
    "more",
    [
        {"weights": {"given": np.zeros((2, 2, 2, 4)), "neutral": np.zeros((2, 2, 2, 4))}},
        {"bias": {"given": 0.5, "neutral": -0.4}},
        {"rows": (-8, -1)},
        {"window": 241},
        {"overlap": 1},
        {"question": "What else?"},
        {"search_cost": 0.8},
    ],
)
def test_whatever_makes_the_score_changes_the_digest(more) -> None:
    assert profile(**more).digest != profile().digest


def test_what_does_not_make_the_score_leaves_the_digest() -> None:
    other = profile(name="fast", source="x", method="y", data_hash="z", quality={"a": 1}, fingerprints=("b4a",))
    assert other.digest == profile().digest


def test_one_weight_changes_the_digest() -> None:
    weights = {kind: array.copy() for kind, array in profile().weights.items()}
    weights["neutral"][1, 0, 1, 2] += 1e-3
    assert profile(weights=weights).digest != profile().digest


def test_another_model_is_refused() -> None:
    profile().refuse_other(Identity())
    for other in (Identity(name="other", fingerprint="bad"), Identity(layers=4), Identity(heads=3)):
        with pytest.raises(ProfileError, match=r"expected the weights of tiny \(f00\), found .*heed guard fit --model"):
            profile().refuse_other(other)
    with pytest.raises(ProfileError, match="expected the weights"):
        profile(fingerprints=()).refuse_other(Identity())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"weights": {"given": np.zeros((2, 2, 2, 3))}, "bias": {"given": 0.0}}, "expected weights of the shape"),
        ({"weights": {"neutral": np.zeros((2, 2, 2, 4))}, "bias": {"neutral": 0.0}}, r"found .* for \['neutral'\]"),
        ({"bias": {"given": 0.0}}, "a bias for each kind of prompt"),
        ({"rows": (-1,)}, "expected weights of the shape"),
        ({"n_heads": 3}, "expected weights of the shape"),
        ({"bias": {"given": np.nan, "neutral": 0.0}}, "expected finite weights"),
        ({"search_cost": np.inf}, "expected finite weights"),
        ({"rows": (-9, 0)}, "expected rows counted from the end"),
        ({"n_layers": 1}, "1 to 1 layers"),
        ({"window": 0}, "and a window"),
    ],
)
def test_an_impossible_profile_is_refused(more, message) -> None:
    with pytest.raises(ProfileError, match=message):
        profile(**more)


def test_not_a_number_among_the_weights_is_refused() -> None:
    weights = {kind: array.copy() for kind, array in profile().weights.items()}
    weights["given"][0, 0, 0, 0] = np.nan
    with pytest.raises(ProfileError, match="expected finite weights, found NaN or infinity: fit the profile again"):
        profile(weights=weights)


def damaged(path: Path, **changes: object) -> Path:
    profile().save(path)
    value = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({name: item for name, item in value.items() if item is not None}), encoding="utf-8")
    return path


def coded(array: np.ndarray) -> dict[str, str]:
    return dict.fromkeys(("given", "neutral"), base64.b64encode(array.astype("<f4").tobytes()).decode())


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": None},
        {"rows": "all"},
        {"rows": 3},
        {"depth": 3},
        {"depth": "deep"},
        {"n_heads": 0},
        {"weights": None},
        {"weights": []},
        {"weights": {"given": "not base64!"}},
        {"weights": {"given": 3}},
        {"weights": coded(np.zeros(31))},
        {"weights": coded(np.full(32, np.nan))},
        {"bias": {"given": "high", "neutral": 0}},
        {"bias": {"given": 0.5}},
        {"window": "wide"},
        {"window": -1},
        {"search_cost": [1]},
        {"fingerprints": 5},
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, changes) -> None:
    with pytest.raises(ProfileError, match=r"expected .*p\.json"):
        LearnedProfile.load(damaged(tmp_path / "p.json", **changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a profile in"),
        ("[]", "expected profile version"),
        ('{"version": 99}', "expected profile version"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, text, message) -> None:
    (tmp_path / "p.json").write_text(text)
    for load in (LearnedProfile.load, load_profile):
        with pytest.raises(ProfileError, match=message):
            load(tmp_path / "p.json")
    with pytest.raises(ProfileError, match="expected a profile in"):
        load_profile(tmp_path / "none.json")


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> list[LearnedProfile]:
    """Two profiles shipped for the same weights, and none fitted."""
    monkeypatch.setenv("HEED_PROFILES_DIR", str(tmp_path))
    both = [profile(name="fast", window=100), profile(name="full", window=200)]
    monkeypatch.setattr("heed.profile.find.shipped_profiles", lambda: tuple(both))
    return both


def test_shipped_profiles_are_told_apart_by_name(shipped) -> None:
    fast, full = shipped
    assert find_profile(Identity(), task="guard", name="fast") is fast
    assert find_profile(Identity(), task="guard", name="full") is full
    assert find_profile(Identity(), task="guard") is {"fast": fast, "full": full}[DEFAULT]
    for other in ({"fingerprint": "bad"}, {"name": "tiny", "fingerprint": "b4d"}):
        with pytest.raises(ProfileError, match=r"expected a guard profile named 'fast' for tiny .*found none shipped"):
            find_profile(Identity(**other), task="guard", name="fast")


def test_a_name_is_never_answered_by_a_profile_without_one(shipped) -> None:
    shipped[:] = [profile()]
    assert find_profile(Identity(), task="guard") is shipped[0]
    with pytest.raises(ProfileError, match="named 'fast'"):
        find_profile(Identity(), task="guard", name="fast")


def test_one_fitted_here_comes_before_the_default_but_not_before_a_name(shipped, tmp_path) -> None:
    own = replace(profile(), window=300)
    own.save(fitted_folder(tmp_path, Identity(), task="guard") / PROFILE_FILE)
    assert find_profile(Identity(), task="guard").digest == own.digest
    assert find_profile(Identity(), task="guard", name="fast") is shipped[0]


def test_a_folder_may_hold_either_kind(tmp_path) -> None:
    heads = Profile("guard", "tiny", 3, 2, np.array([[0, 1]]), np.array([1.0]), fingerprints=("f00",))
    for place, known in (("heads", heads), ("learned", profile())):
        known.save(tmp_path / place / PROFILE_FILE)
        found = find_profile(Identity(), task="guard", folder=tmp_path / place)
        assert (type(found), found.digest) == (type(known), known.digest)
