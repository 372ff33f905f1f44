"""`heed cite fit` and `heed cite evaluate` on the tiny model."""

import json
import random

import pytest

from cite_rows import write_rows
from heed.cli import cite_evaluate, cite_fit
from heed.profile import RankingProfile

_NAMES = ["Ann", "Bob", "Cy", "Dee", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon"]


def rows(seed, count=12, *, response=True):
    """Questions about one name among six facts."""
    draw = random.Random(seed)
    found = []
    for place in range(count):
        names = draw.sample(_NAMES, 6)
        gold = draw.randrange(6)
        units = [f"{name} has {draw.randrange(90)} pens." for name in names]
        question = f"What has {names[gold]}?"
        answer = f"{units[gold]}" if response else None
        found.append({"id": f"{seed}-{place}", "question": question, "units": units, "separator": " ",
                      "gold": [gold], "response": answer, "answer": None})  # fmt: skip
    return found


@pytest.fixture
def sets(tmp_path):
    return [
        write_rows(tmp_path / f"{name}.jsonl", *rows(seed, response=seed < 2))
        for seed, name in enumerate(["one", "two", "three"])
    ]


@pytest.fixture(autouse=True)
def _few_repeats(monkeypatch):
    monkeypatch.setattr("heed.evaluation.citation._REPEATS", 100)


@pytest.fixture
def options(tiny):
    return ["--model", tiny, "--dtype", "float32"]


def test_a_profile_is_fitted_and_found(heed, sets, options, tmp_path):
    data = [word for path in sets for word in ("--data", path)]
    done = heed("cite", "fit", *data, *options)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split() == ["looked", "from", "data", "set", "left", "out", "recall@5", "depth"]
    assert [line.split()[:4] for line in done.out.splitlines()[1:4]] == [
        ["question", name, "the", "set"] for name in ("one", "three", "two")
    ]
    alone = heed("cite", "fit", "--data", sets[0], *options, "--out", tmp_path / "alone").out
    assert alone.splitlines()[1].split()[:7] == ["question", "one", "a", "fifth", "of", "the", "rows"]
    (tmp_path / "c.txt").write_text("Ann came. Bob left.")
    cited = heed("cite", "answer", "--context", tmp_path / "c.txt", "--question", "Who left?", *options, "--json")
    assert (cited.code, sorted(cited.json["ranking"])) == (0, [0, 1])
    told = heed("cite", "fit", *data, *options, "--out", tmp_path / "own", "--limit", 11, "--json").json
    profile = RankingProfile.load(tmp_path / "own" / "profile.json")
    assert (told["digest"], set(told["quality"])) == (profile.digest, {"question", "response"})


def test_too_few_questions_to_fit_on(heed, options, tmp_path):
    done = heed("cite", "fit", "--data", write_rows(tmp_path / "few.jsonl", *rows(0, 9)), *options)
    assert (done.code, "expected at least 10 questions" in done.err) == (2, True)


def test_methods_are_set_side_by_side(heed, sets, options, tmp_path):
    words = ["--methods", "last_quarter,last_quarter + bm25,leave_one_out", "--slow-limit", 2, "--controls", 2]
    done = heed("cite", "evaluate", *sets, *options, *words, "--drops", 1, "--limit", 4, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    titles = [line for line in done.out.splitlines() if "told" in line]
    assert len(titles) == 2 + 3 + 2  # an overview for each regime, three sets with questions, two with answers
    assert "leave_one_out could not be asked 2 of 2 questions of three (question), left out" in done.err
    assert "report.html and 3 files beside it" in done.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    told = {(one["set"], one["regime"]): one["methods"] for one in report["sets"]}
    assert list(told["one", "question"]) == ["random", "lead", "recency", "bm25", "last_quarter", "last_quarter+bm25"]
    assert told["one", "response"]["bm25"]["recall@1"] == 1.0
    assert told["one", "response"]["bm25"]["swapped"] < 1.0
    assert told["one", "response"]["leave_one_out"]["rows"] == 2
    assert told["one", "response"]["leave_one_out"]["passes"] == 7.0
    assert told["one", "question"]["last_quarter"]["drop"] is not None  # of the row's own answer
    assert told["three", "question"]["last_quarter"]["drop"] is None
    assert "R@5 (of 1.00)" in (tmp_path / "out" / "report.md").read_text("utf-8")


def test_learned_weights_are_fitted_without_the_set(heed, sets, options):
    words = [
        "--methods",
        "learned,learned+bm25,heads",
        "--leave-one-out",
        "--rows",
        "question",
        "--controls",
        0,
        "--drops",
        0,
        "--json",
    ]
    done = heed("cite", "evaluate", *sets, *options, *words)
    assert done.code == 0, done.err
    assert all({"learned", "learned+bm25", "heads"} <= set(one["methods"]) for one in done.json["sets"])
    alone = heed("cite", "evaluate", sets[0], *options, *words)
    assert (alone.code, "two data sets or more" in alone.err) == (2, True)
    profile = heed("cite", "evaluate", *sets, *options, *words, "--profile", sets[0])
    assert profile.code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "response"], "expected questions with gold facts and an answer to tell, found none among 12"),
        (["--methods", "learned,heads+bm25"], "expected --leave-one-out beside the method heads"),
    ],
)
def test_what_cannot_be_asked_is_told_before_a_model_is_loaded(heed, sets, monkeypatch, words, message):
    monkeypatch.setattr(cite_evaluate, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    done = heed("cite", "evaluate", sets[2], *words)
    assert (done.code, done.out, message in done.err) == (2, "", True)


def test_words_alone_need_no_model(heed, sets, monkeypatch):
    monkeypatch.setattr(cite_evaluate, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    done = heed("cite", "evaluate", *sets, "--methods", "bm25", "--drops", 0, "--controls", 5, "--json")
    assert done.code == 0, done.err
    assert done.json["model"] == "none"


@pytest.mark.parametrize("line", [b"nope", {"question": "a"}, {**rows(0)[0], "gold": [6]}])
def test_a_bad_row_is_found_before_a_model_is_loaded(heed, tmp_path, monkeypatch, line):
    for module in (cite_evaluate, cite_fit):
        monkeypatch.setattr(module, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    path = write_rows(tmp_path / "bad.jsonl", rows(0)[0], line)
    for words in (["evaluate", path], ["fit", "--data", path]):
        done = heed("cite", *words)
        assert done.code == 2
        assert "line 2" in done.err
        assert "bad.jsonl" in done.err
        assert "Traceback" not in done.err


def test_a_method_that_is_none_is_bad_usage(heed, sets):
    assert "expected a method among" in heed("cite", "evaluate", *sets, "--methods", "learned,bm52").err
