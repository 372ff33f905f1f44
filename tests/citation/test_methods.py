"""Methods by their names, and which settings go where."""

import numpy as np
import pytest

from heed.citation.attention import mean_method
from heed.citation.fusion import fuse
from heed.citation.lexical import bm25_method
from heed.citation.methods import NAMES, method
from heed.citation.question import Question
from heed.errors import InputError
from heed.model import Model
from tiny import keen_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return keen_model(tmp_path_factory.mktemp("keen"))


@pytest.fixture
def question() -> Question:
    return Question.of("What is blue?", "Grass is green. The sky is blue. Snow is white.")


def test_last_quarter_is_a_share_of_layers(model, question) -> None:
    own = method("last_quarter", model)(question).values
    np.testing.assert_array_equal(own, mean_method(model, layers=0.25)(question).values)
    both = method("last_quarter", model, layers=1.0)(question).values
    np.testing.assert_array_equal(both, mean_method(model)(question).values)


def test_a_fusion_gives_each_part_the_settings_it_knows(model, question) -> None:
    fused = method("all_layers + bm25", model, layers=0.5, k1=0.9)(question)
    parts = [mean_method(model, layers=0.5)(question), bm25_method(k1=0.9)(question)]
    np.testing.assert_array_equal(fused.values, fuse(parts).values)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("learned", "heads", "embedding")])
def test_every_name_makes_a_method(model, name) -> None:
    assert callable(method(name, model))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("bm52", {}, "did you mean bm25"),
        ("bm25+nothing", {}, "found 'nothing'"),
        ("bm25", {"layers": 0.5}, r"found \['layers'\]"),
        ("all_layers+bm25", {"sink": "paper"}, r"found \['sink'\]"),
        ("bm25+heads", {}, "expected the setting heads of the method heads, found none"),
        ("heads", {"heads": [[1, 2.5]]}, "a list of"),
        ("all_layers", {"layers": True}, "as a number, found True"),
        ("all_layers", {"layers": float("nan")}, "as a number, found nan"),
        ("all_layers", {"per_token": 1}, "as true or false, found 1"),
        ("contextcite", {"seed": -1}, "seed >= 0"),
        ("attrieval", {"sink": 1}, "as 'paper' or 'token', found 1"),
    ],
)
def test_unknown_names_and_settings_are_refused(model, name, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        method(name, model, **settings)


def test_settings_come_from_numpy_and_json_alike(model, question) -> None:
    array = method("heads", model, heads=[tuple(np.int64([1, 0]))])(question)
    np.testing.assert_array_equal(array.values, method("heads", model, heads=[[1, 0]])(question).values)
    words = method("bm25", None, k1=np.float32(1.5), stop_words=["is"])(question)
    np.testing.assert_array_equal(words.values, method("bm25", None, b=0.75, stop_words=("is",))(question).values)


def test_a_method_that_reads_needs_a_model() -> None:
    with pytest.raises(InputError, match="expected a model"):
        method("calibrated", None)
