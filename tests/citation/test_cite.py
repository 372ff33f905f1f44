"""`heed.cite`: from texts to facts with their places."""

import json

import numpy as np
import pytest

import heed
from answering import answering_model
from heed.citation import reading
from heed.citation.units import sentences_of
from heed.errors import InputError
from heed.model import Model
from heed.probe import PrefixCache
from heed.profile import RankingProfile
from tiny import HEADS, LAYERS

CONTEXT = "The sky is blue. Grass is green! Snow is 1.4 m deep. Nobody knows why."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return answering_model(tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="module")
def profile(model) -> RankingProfile:
    rng = np.random.default_rng(0)
    weights = {kind: rng.normal(size=(groups, LAYERS, HEADS)) for kind, groups in (("question", 2), ("response", 1))}
    return RankingProfile("cite", model.name, LAYERS, HEADS, weights, fingerprints=(model.fingerprint,))


def test_facts_are_stretches_of_the_context(model, profile) -> None:
    cited = heed.cite(model, CONTEXT, "Why?", "It is blue. It is deep.", profile=profile, top=3)
    assert len(cited.facts) == 3
    assert sorted(cited.ranking) == [0, 1, 2, 3]
    assert [fact.index for fact in cited.facts] == list(cited.ranking[:3])
    for fact in cited.facts:
        assert CONTEXT[fact.span.slice()] == fact.text
        assert fact.score == cited.scores[fact.index]
    assert [one.text for one in cited.sentences] == ["It is blue.", "It is deep."]
    assert (cited.rows, cited.windows, cited.passes, cited.generated) == ("response", 1, 1, False)
    assert json.loads(json.dumps(cited.record()))["ranking"] == list(cited.ranking)
    assert cited.record()["settings"] == {"profile": profile.digest}
    scene = cited.scene()
    assert scene.passages[1].evidence.words()[0] == cited.facts[0].text


@pytest.mark.parametrize("method", ["learned", "all_layers", "attrieval", "learned+bm25"])
def test_an_answer_read_as_it_comes_is_cited_as_afterwards(model, profile, method) -> None:
    settings = {"profile": profile} if "learned" in method else {}
    own = heed.cite(model, CONTEXT, "Why?", generate=True, max_new_tokens=24, method=method, **settings)
    assert own.generated
    assert own.rows == "response"
    assert own.response
    after = heed.cite(model, CONTEXT, "Why?", own.response, method=method, **settings)
    if method != "attrieval":  # the answer's text may be cut into other tokens than were generated
        np.testing.assert_allclose(own.scores, after.scores, atol=2e-4)
    assert len(own.sentences) == (len(sentences_of(own.response)) if own.sentences else 0)


def test_units_of_the_caller_are_the_facts(model) -> None:
    units = ["The sky is blue. Grass is green!", "Snow is 1.4 m deep. Nobody knows why."]
    cited = heed.cite(model, CONTEXT, "Why?", units=units, method="all_layers")
    assert {fact.text for fact in cited.facts} == set(units)
    assert cited.rows == "question"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"generate": True, "response": "It is."}, "found both"),
        ({"top": 0}, "at least one fact"),
        ({"rows": "response"}, "expected a response"),
        ({"rows": "both"}, "'question' or 'response'"),
        ({"response": " "}, "response with text"),
        ({"method": "magic"}, "expected a method among"),
        ({"units": ["The sky"]}, "add up to the context"),
        ({"units": [CONTEXT], "response": "It is.", "check": True}, "two facts or more, found one"),
        ({"check": True}, "expected an answer to score"),
        ({"method": "learned", "profile": 3}, "profile of the method learned as RankingProfile or Path or text"),
    ],
)
def test_bad_input_is_refused(model, how, message) -> None:
    with pytest.raises(InputError, match=message):
        heed.cite(model, CONTEXT, "Why?", **{"method": "all_layers", **how})


def test_what_is_empty_is_refused(model) -> None:
    for context, question in (("", "Why?"), (CONTEXT, "  "), ("!!! ...", "Why?")):
        with pytest.raises(InputError, match="expected"):
            heed.cite(model, context, question, method="all_layers")


def test_a_method_that_looks_from_the_question_says_so(model) -> None:
    cited = heed.cite(model, CONTEXT, "Why?", "It is blue.", method="calibrated")
    assert (cited.rows, cited.passes) == ("question", 2)
    again = heed.cite(model, CONTEXT, "Why?", "It is blue.", method="calibrated", rows="question")
    np.testing.assert_array_equal(again.scores, cited.scores)
    with pytest.raises(InputError, match="compares questions"):
        heed.cite(model, CONTEXT, "Why?", "It is blue.", method="calibrated", rows="response")


def test_settings_are_those_it_went_by(model, profile, tmp_path) -> None:
    profile.save(tmp_path / "own.json")
    cited = heed.cite(model, CONTEXT, "Why?", method="learned+bm25", profile=tmp_path / "own.json", k1=1)
    stored = RankingProfile.load(tmp_path / "own.json").digest
    own = {"learned": {"profile": stored}, "bm25": {"k1": 1, "b": 0.75, "stop_words": "en"}}
    assert json.loads(json.dumps(cited.record()))["settings"] == own
    quarter = heed.cite(model, CONTEXT, "Why?", method="last_quarter").settings
    assert quarter == {"layers": 0.25, "per_token": False}


def test_several_questions_about_one_context_share_what_was_computed(model, profile, monkeypatch) -> None:
    """The same scores as alone; the third question finds the context of the first two kept."""
    reused, read = [], reading.read

    def counted(*args, **options):
        found = read(*args, **options)
        reused.append(found.reused_tokens)
        return found

    monkeypatch.setattr(reading, "read", counted)
    questions = ("Why?", "Who knows it?", "How deep is snow?")
    alone = [heed.cite(model, CONTEXT, asked, profile=profile).scores for asked in questions]
    assert not any(reused)
    prefix = PrefixCache()
    shared = [heed.cite(model, CONTEXT, asked, profile=profile, prefix=prefix).scores for asked in questions]
    assert reused[-1] > 16
    np.testing.assert_allclose(shared, alone, atol=1e-3)
    words = [heed.cite(model, CONTEXT, "Who knows?", method="bm25", prefix=one).ranking for one in (None, prefix)]
    assert words[0] == words[1]
