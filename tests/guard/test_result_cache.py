"""Kept verdicts: what counts as the same question, what is never kept, which one makes room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import InputError
from heed.guard import Guard, Verdict
from heed.guard.result_cache import ResultCache
from heed.model import load
from heed.profile import Profile
from tiny import tiny_folder, tiny_profile


class Judge:
    """Says what it was asked as the reason; remembers how often it was asked what."""

    def __init__(self, status="ok"):
        self.asked, self.status = [], status

    def __call__(self, pairs):
        self.asked += pairs
        flagged = True if self.status == "ok" else None
        return [Verdict(self.status, repr(pair), flagged=flagged, seconds=1000.0) for pair in pairs]


@pytest.fixture
def judge():
    return Judge()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tiny_folder(tmp_path_factory.mktemp("m") / "tiny"), dtype="float32")


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Profile:
    return Profile.load(tiny_profile(tmp_path_factory.mktemp("p") / "profile.json"))


def test_none_are_kept_unless_asked_for(judge):
    cache = ResultCache(0)
    for _ in range(2):
        assert [known for _, known in cache.answer([("a", "b")] * 2, judge, context="c")] == [False, False]
    assert len(judge.asked) == 4
    assert len(cache) == 0


def test_a_text_is_judged_once_even_within_one_call(judge):
    cache = ResultCache(9)
    asked = [("a", "b"), (None, "b"), ("a", "b")]
    first, second = (cache.answer(asked, judge, context="c") for _ in range(2))
    assert judge.asked == asked[:2]
    assert [known for _, known in first] == [False, False, True]
    assert [known for _, known in second] == [True, True, True]
    assert [verdict.reason for verdict, _ in second] == [repr(pair) for pair in asked]
    assert all((verdict.seconds < 1.0) is known for verdict, known in [*first, *second])


def test_the_one_used_longest_ago_makes_room(judge):
    cache = ResultCache(2)
    for data in ("1", "2", "1", "3", "1", "2"):  # 3 pushes out 2, as 1 was used since
        cache.answer([(None, data)], judge, context="c")
    assert [data for _, data in judge.asked] == ["1", "2", "3", "2"]
    assert len(cache) == 2


def test_an_abstention_is_never_kept():
    cache, judge = ResultCache(9), Judge("out_of_memory")
    for _ in range(2):
        cache.answer([("a", "b")], judge, context="c")
    assert len(judge.asked) == 2


def test_another_context_forgets_everything(judge):
    cache = ResultCache(9)
    for context in (("p", 0.5), ("p", 0.6), ("p", 0.5)):
        cache.answer([("a", "b")], judge, context=context)
    assert len(judge.asked) == 3


def test_what_was_judged_for_a_context_of_before_is_not_kept(judge):
    cache = ResultCache(9)

    def slow(pairs):
        cache.answer([("x", "y")], judge, context="new")  # meanwhile, in another thread
        return judge(pairs)

    cache.answer([("a", "b")], slow, context="old")
    assert cache.answer([("a", "b")], judge, context="new")[0][1] is False


@given(st.lists(st.tuples(st.none() | st.text(), st.text(alphabet=st.characters(exclude_categories=()))), max_size=8))
def test_any_two_different_texts_are_different(pairs):
    judge = Judge()
    answers = ResultCache(9).answer(pairs, judge, context="c")
    assert [verdict.reason for verdict, _ in answers] == [repr(pair) for pair in pairs]
    assert len(judge.asked) == len(set(pairs))


@pytest.mark.parametrize("size", [-1, 1.5, True, "9", None])
def test_the_size_is_a_whole_number(size):
    with pytest.raises(InputError, match="whole number of verdicts"):
        ResultCache(size)


def test_a_guard_reads_a_text_once(model, profile):
    guard = Guard(model, profile=profile, threshold=0.5, cache=4)
    first, again = guard.check("Greet.", "Hello."), guard.check("Greet.", "Hello.")
    assert (again.score, again.spans, again.tokens) == (first.score, first.spans, first.tokens)
    assert guard.stats().cache_hits == 1
    assert guard.stats().tokens == first.tokens
    guard.calibrations = Guard(model, profile=profile, threshold=0.0).calibrations
    assert guard.check("Greet.", "Hello.").threshold == 0.0
    assert guard.stats().cache_hits == 1


def test_a_guard_keeps_nothing_by_default(model, profile):
    guard = Guard(model, profile=profile, threshold=0.5)
    assert guard.check("Greet.", "Hello.").seconds > 0
    assert guard.check("Greet.", "Hello.").flagged is not None
    assert guard.stats().cache_hits == 0
