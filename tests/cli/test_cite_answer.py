import json

import pytest

from cite_rows import CONTEXT, QUESTION, ranking_profile
from heed.citation.example import examples
from heed.cli import cite as module
from tiny import tiny_folder

FACTS = ["Ann came at 1.4 pm.", "Bob left.", "Cy slept in Fig. 2 of the book.", "Dee ate."]


@pytest.fixture(scope="session")
def ranking(tiny, tmp_path_factory):
    return ranking_profile(tmp_path_factory.mktemp("ranking") / "profile.json", tiny)


@pytest.fixture
def context(tmp_path):
    path = tmp_path / "context.txt"
    path.write_text(CONTEXT, encoding="utf-8", newline="")
    return path


@pytest.fixture
def answer(heed, tiny, ranking, context):
    """The command on the tiny model, with the random profile unless another method is named."""

    def run(*words, question=QUESTION, file=context, **more):
        learned = () if "--method" in words else ("--profile", ranking)
        return heed("cite", "answer", "--context", file, "--question", question, "--model", tiny,
                    "--dtype", "float32", *learned, *words, **more)  # fmt: skip

    return run


@pytest.fixture
def said(tmp_path):
    path = tmp_path / "response.txt"
    path.write_text("Bob left. He went home.", encoding="utf-8")
    return path


def test_facts_have_offsets_into_the_callers_own_text(answer):
    done = answer("--json")
    assert done.code == 0, done.err
    found = done.json
    assert sorted(found["ranking"]) == [0, 1, 2, 3]
    assert {CONTEXT[fact["start"] : fact["end"]] for fact in found["facts"]} == set(FACTS)
    assert [fact["index"] for fact in found["facts"]] == found["ranking"]
    assert [fact["score"] for fact in found["facts"]] == sorted(found["scores"], reverse=True)
    assert (found["rows"], found["response"], found["sentences"]) == ("question", None, [])
    assert 0 < found["context_mass"] < 1
    assert found["reinserted"] is None


def test_an_answer_is_cited_sentence_by_sentence(answer, said):
    done = answer("--response", said, "--top", 2)
    assert done.code == 0, done.err
    head, first, second = done.out.splitlines()[:3]
    assert head.split() == ["fact", "characters", "score", "text"]
    assert any(f"{CONTEXT.index(fact)}-{CONTEXT.index(fact) + len(fact)}" in first for fact in FACTS)
    assert second
    assert "He went home." in done.out
    assert "attention on the context" in done.out
    found = answer("--response", said, "--json").json
    assert [one["text"] for one in found["sentences"]] == ["Bob left.", "He went home."]
    assert all(len(one["facts"]) == 3 for one in found["sentences"])


def test_the_model_answers_and_answers_again(answer):
    done = answer("--generate", "--max-new-tokens", 4, "--reinsert", "--method", "all_layers", "--json")
    assert done.code == 0, done.err
    assert done.json["generated"] is True
    assert done.json["response"]
    assert done.json["rows"] == "response"
    assert done.json["reinserted"]["facts"] == [0, 1, 2, 3]
    assert done.json["reinserted"]["response"]
    shown = answer("--generate", "--max-new-tokens", 4, "--reinsert", "--method", "all_layers")
    assert "the model's answer" in shown.out
    assert "with the facts restated" in shown.out


def test_faithfulness_is_what_the_answer_loses(answer, said):
    done = answer("--response", said, "--faithfulness", "--json")
    assert done.code == 0, done.err
    assert done.json["faithfulness"]["k"] == 3
    assert "log-probability lost without them" in answer("--response", said, "--faithfulness").out


def test_a_page_is_written(answer, tmp_path):
    done = answer("--page", tmp_path / "out.html")
    assert done.code == 0, done.err
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "Bob left." in page
    assert "<script" not in page


def test_settings_reach_the_method(answer, said):
    paper = answer("--method", "attrieval", "--set", "sink=paper", "--set", "top_k=1", "--response", said, "--json")
    assert paper.code == 0, paper.err
    assert paper.json["settings"] == {"sink": "paper", "top_k": 1}
    assert all(0 <= fact["frequency"] <= 1 for fact in paper.json["facts"])
    assert "frequency" in answer("--method", "attrieval").out
    wrong = answer("--method", "attrieval", "--set", "sunk=paper")
    assert (wrong.code, "sunk" in wrong.err) == (2, True)
    assert answer("--method", "attrieval", "--set", "sink").code == 2


def test_two_methods_are_fused(answer):
    found = answer("--method", "bm25+all_layers", "--json")
    assert found.code == 0, found.err
    assert sorted(found.json["ranking"]) == [0, 1, 2, 3]


def test_a_context_longer_than_the_window_is_read_in_stretches(answer, tmp_path):
    long = tmp_path / "long.txt"
    long.write_text(" ".join(f"Fact number {place} is here." for place in range(63)), encoding="utf-8")
    found = answer("--json", file=long).json
    assert sorted(found["ranking"]) == list(range(63))
    assert found["windows"] > 1
    shown = answer(file=long).out
    assert f"{found['windows']} stretches, because it is longer than the model's window" in " ".join(shown.split())
    long.write_text(f"A fact of {'very ' * 200}many words.", encoding="utf-8")
    refused = answer(file=long)
    assert (refused.code, "Traceback" in refused.err) == (2, False)
    assert "expected question, answer and one fact within 512 tokens" in refused.err


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("", QUESTION, "Bob."), "expected a context with text"),
        ((" \n\t", QUESTION, "Bob."), "expected a context with text"),
        (("?!... —", QUESTION, "Bob."), "expected a context with at least one sentence"),
        ((CONTEXT, "", "Bob."), "expected a question with text"),
        ((CONTEXT, "  ", "Bob."), "expected a question with text"),
        ((CONTEXT, QUESTION, ""), "expected a response with text"),
        ((CONTEXT, QUESTION, "\n"), "expected a response with text"),
    ],
)
def test_empty_texts_are_bad_input_before_a_model_is_loaded(answer, tmp_path, monkeypatch, texts, message):
    context, question, response = texts
    monkeypatch.setattr(module, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / "c.txt").write_text(context, encoding="utf-8")
    (tmp_path / "r.txt").write_text(response, encoding="utf-8")
    done = answer("--response", tmp_path / "r.txt", question=question, file=tmp_path / "c.txt")
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--generate", "--response", "r.txt"], "found both"),
        (["--method", "bm52"], "expected a method among"),
        (["--method", "bm25+", "--question", "x"], "expected a method among"),
        (["--faithfulness"], "expected an answer to score"),
        (["--example"], "found a text of yours"),
        (["--rows", "response"], "expected a response to look from"),
        (["--response", "missing.txt"], "expected a file at"),
        (["--profile", "missing.json"], "expected a profile at missing.json"),
        (["--page", "no/folder/x.html"], "expected a folder"),
        (["--top", "0"], "--top"),
    ],
)
def test_bad_usage_is_told_in_one_line(answer, tmp_path, words, message):
    (tmp_path / "r.txt").write_text("Bob.", encoding="utf-8")
    done = answer(*words)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_a_question_needs_a_context(heed):
    assert "--context" in heed("cite", "answer", "--question", "Who?").err
    assert heed("cite", "answer", "--context", "x.txt").code == 2


def test_context_and_answer_come_from_stdin_or_a_file(heed, tiny, said):
    words = ["cite", "answer", "--question", QUESTION, "--model", tiny, "--method", "bm25", "--json"]
    done = heed(*words, "--context", "-", "--response", said, stdin=CONTEXT.encode())
    assert done.json["facts"][0]["text"] == "Bob left."
    assert heed(*words, "--context", "-", "--response", "-", stdin=b"x").code == 2
    broken = heed(*words, "--context", "-", stdin=b"\xff")
    assert (broken.code, "0xff at byte 1" in broken.err) == (2, True)


def test_a_profile_of_another_model_is_refused(heed, ranking, context, tmp_path):
    other = tiny_folder(tmp_path / "models" / "other")
    weights = other / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = heed("cite", "answer", "--context", context, "--question", QUESTION, "--model", other, "--profile", ranking)
    assert done.code == 3
    assert "expected the weights of" in done.err
    assert "Traceback" not in done.err


def test_a_model_without_profile_says_how_to_make_one(heed, tiny, context):
    done = heed("cite", "answer", "--context", context, "--question", QUESTION, "--model", tiny)
    assert (done.code, "heed cite fit" in done.err) == (3, True)


def test_a_model_that_cannot_be_loaded_is_reported(heed, tiny, context, tmp_path):
    broken = tiny_folder(tmp_path / "models" / "broken")
    (broken / "model.safetensors").write_bytes(b"no model")
    words = ["cite", "answer", "--context", context, "--question", QUESTION, "--model"]
    done = heed(*words, broken)
    assert (done.code, "Traceback" in done.err) == (3, False)
    assert len(done.err.splitlines()) == 1
    assert heed(*words, "no-such-model").code == 3


def test_the_shipped_example_is_cited(heed, tiny):
    done = heed("cite", "answer", "--example", "--method", "bm25", "--model", tiny, "--json")
    assert done.code == 0, done.err
    shipped = examples()[0]
    assert done.json["question"] == shipped.question.text
    assert set(done.json["ranking"][:3]) & shipped.gold
    assert len({one.id for one in examples()}) == len(examples()) >= 6
    assert all(0 < len(one.gold) < len(one.question.units) and one.question.response for one in examples())


def test_hostile_text_cannot_move_the_cursor(answer, tmp_path):
    path = tmp_path / "hostile.txt"
    path.write_text("Ann\x1b[2J came. Bob \u202eleft.", encoding="utf-8")
    done = answer(file=path, question="Who\x1b[1A?")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert json.loads(answer("--json", file=path).out)["facts"]
