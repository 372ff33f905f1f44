"""The fit finds the head that shows what matters, and says how well on data it did not see."""

from pathlib import Path

import numpy as np
import pytest

import heed
from heed.citation.data import LabelledQuestion
from heed.citation.fit import Read, fit, learn
from heed.citation.learned import find_ranking, learned_method
from heed.citation.question import Question
from heed.errors import InputError, ProfileError
from heed.model import Model
from heed.profile import Profile
from tiny import HEADS, LAYERS, keen_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return keen_model(tmp_path_factory.mktemp("keen"))


def reads(groups: dict[str, int], head: tuple[int, int], *, facts: int = 8) -> list[Read]:
    """Noise, but for one head that puts more on the gold fact."""
    rng, found = np.random.default_rng(0), []
    for group, count in groups.items():
        for number in range(count):
            contrasts = rng.normal(size=(facts, 2, LAYERS, HEADS))
            gold = int(rng.integers(facts))
            contrasts[gold, 0, head[0], head[1]] += 5.0
            found.append(Read(contrasts.astype(np.float16), frozenset([gold]), group, str(number)))
    return found


@pytest.mark.parametrize("groups", [{"a": 30, "b": 30}, {"only": 40}])
def test_the_head_that_tells_is_found(model, groups) -> None:
    found = learn(model, {"question": reads(groups, (0, 1))}, source="test", data="x")
    weights = found.weights["question"]
    assert np.unravel_index(np.abs(weights).argmax(), weights.shape) == (0, 0, 1)
    assert weights.shape[1] == 1  # the deeper layer adds nothing
    assert min(found.quality["question"]["recall_at_5_rows_left_out"].values()) > 0.95


@pytest.mark.parametrize(("sets", "depth", "chosen_by"), [("abc", 1, "sets"), ("ab", 2, "rows")])
def test_depth_is_chosen_by_sets_where_there_are_enough(model, sets, depth, chosen_by) -> None:
    """In the deeper layer each set has a head of its own, which misleads in the others."""
    found = []
    for one in reads(dict.fromkeys(sets, 80), (0, 1)):
        contrasts = one.contrasts.astype(float)
        gold = sorted(one.gold)
        contrasts[gold, 0, 0, 1] -= 4.0
        deep = contrasts.reshape(len(contrasts), -1)[:, [2, 3, 6]]
        contrasts[gold, [0, 0, 1], 1, [0, 1, 0]] = deep[gold] - 2.0
        own = "abc".index(one.group)
        contrasts[gold, own // 2, 1, own % 2] += 8.0
        found.append(Read(contrasts, one.gold, one.group, one.id))
    profile = learn(model, {"question": found}, source="test", data="x")
    assert profile.depth("question") == depth
    assert profile.quality["question"]["chosen_by"] == f"recall_at_5_{chosen_by}_left_out"


def test_noise_is_not_called_good(model) -> None:
    rows = [Read(one.contrasts[::-1], one.gold, one.group, one.id) for one in reads({"a": 60, "b": 60}, (0, 0))]
    found = learn(model, {"question": rows}, source="test", data="x")
    assert all(0.4 < value < 0.85 for value in found.quality["question"]["recall_at_5_rows_left_out"].values())


def labelled(count: int, *, response: str | None = None) -> list[LabelledQuestion]:
    rows = []
    for number in range(count):
        units = [f"Fact {number} {word} is here." for word in ("ab", "cd", "ef", "gh", "ij", "kl")]
        question = Question.of(f"Where is {number}?", " ".join(units), response, units)
        gold = frozenset([number % 6])
        rows.append(LabelledQuestion(str(number), f"set{number % 2}", question, " ", gold, (gold,)))
    return rows


def test_from_rows_to_a_profile_that_cites(model, tmp_path) -> None:
    told = []
    profile = fit(model, labelled(12, response="It is here."), progress=lambda *done: told.append(done))
    assert set(profile.weights) == {"question", "response"}
    assert profile.weights["question"].shape[0] == 2
    assert profile.weights["response"].shape[0] == 1
    assert told[0] == (0, 24)
    assert len(told) == 24
    profile.save(tmp_path / "profile.json")
    row = labelled(1, response="It is here. Or there.")[0].question
    for kind in ("question", "response"):
        found = learned_method(model, profile=tmp_path / "profile.json", rows=kind)(row)
        np.testing.assert_array_equal(found.values, learned_method(model, profile=profile, rows=kind)(row).values)
        assert found.values.shape == (6,)
        assert np.isfinite(found.values).all()
        assert (found.sentences is None) == (kind == "question")
    cited = heed.cite(model, row.context, row.text, row.response, profile=profile)
    assert sorted(cited.ranking) == list(range(6))
    assert len(cited.sentences) == 2


def test_too_few_rows_are_refused(model) -> None:
    with pytest.raises(InputError, match="at least 10 questions"):
        fit(model, labelled(9))


def test_profiles_of_other_tasks_and_models_are_refused(model, tmp_path) -> None:
    guard = Profile("guard", model.name, LAYERS, HEADS, np.array([[0, 1]]), np.array([1.0]))
    guard.save(tmp_path / "guard.json")
    with pytest.raises(ProfileError, match="another task"):
        find_ranking(model, tmp_path / "guard.json")
    with pytest.raises(ProfileError, match="heed cite fit"):
        find_ranking(model)
    with pytest.raises(ProfileError, match=r"none\.json"):
        find_ranking(model, Path("none.json"))
