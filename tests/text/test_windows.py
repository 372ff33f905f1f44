"""Windows of whole sentences: they cover the text, keep to their size, and cut a sentence only where they must."""

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.text.span import CharSpan
from heed.text.split import sentences
from heed.text.windows import windows

TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=300) | st.lists(
    st.sampled_from(
        ["Hello there. ", "a", "Ünïcode! ", "漢字です。", "👩‍👧 ", "\n\n", " " * 40, "x" * 70, "No? ", "\ud800"]
    ),
    max_size=30,
).map("".join)
SIZES = st.integers(24, 200)


def size_of(text: str) -> int:
    """Bytes that are no blanks."""
    return len("".join(text.split()).encode("utf-8", "surrogatepass"))


def texts_of(text: str, **how) -> list[str]:
    return [text[span.slice()] for span in windows(text, **how)]


@given(TEXT, SIZES)
def test_without_overlap_they_are_the_text(text, size) -> None:
    assert "".join(texts_of(text, size=size)) == text


@given(TEXT, SIZES)
def test_they_keep_to_their_size_and_only_the_last_may_be_a_sixth_longer(text, size) -> None:
    *others, last = [size_of(own) for own in texts_of(text, size=size)] or [0]
    assert all(own <= size for own in others)
    assert last <= size * 7 / 6


@given(TEXT, SIZES)
def test_none_is_blank_unless_the_text_is(text, size) -> None:
    found = texts_of(text, size=size)
    assert all(own.strip() for own in found) or len(found) == 1


@given(TEXT, SIZES)
def test_a_sentence_that_fits_is_never_cut(text, size) -> None:
    edges = {span.start for span in windows(text, size=size)} | {len(text)}
    for sentence in sentences(text):
        if len(text[sentence.slice()].encode("utf-8", "surrogatepass")) <= size:
            assert not any(sentence.start < edge < sentence.end for edge in edges)


@given(TEXT, SIZES, st.integers(1, 300))
def test_overlap_repeats_at_most_so_many_bytes_and_loses_nothing(text, size, overlap) -> None:
    plain, lapped = windows(text, size=size), windows(text, size=size, overlap=overlap)
    assert [span.end for span in lapped] == [span.end for span in plain]
    for own, wide in zip(plain, lapped, strict=True):
        assert wide.start <= own.start
        assert size_of(text[wide.start : own.start]) <= overlap
    assert all(after.start <= before.end for before, after in pairwise(lapped))


def test_neighbours_are_joined_up_to_the_size() -> None:
    text = "One is one. Two is two. Three is three. Four is four."
    assert texts_of(text, size=24) == ["One is one. Two is two. ", "Three is three. ", "Four is four."]
    assert texts_of(text, size=24, overlap=12) == [
        "One is one. Two is two. ",
        "Two is two. Three is three. ",
        "Four is four.",
    ]


def test_a_scrap_at_the_end_joins_the_window_before_it() -> None:
    assert texts_of(f"{'a' * 20} {'b' * 8}. Yes.", size=30) == [f"{'a' * 20} {'b' * 8}. Yes."]
    assert texts_of(f"{'a' * 20} {'b' * 8}. Yes it is.", size=30) == [f"{'a' * 20} {'b' * 8}. ", "Yes it is."]


def test_a_long_sentence_is_cut_between_words_and_anywhere_without_blanks() -> None:
    assert texts_of("alpha beta gamma delta epsilon", size=24) == ["alpha beta gamma delta ", "epsilon"]
    assert texts_of("a" * 60, size=24) == ["a" * 24, "a" * 24, "a" * 12]


def test_wide_letters_count_as_the_bytes_they_are() -> None:
    text = "これは文です。" * 4  # 7 letters of 3 bytes each
    assert texts_of(text, size=42) == ["これは文です。" * 2] * 2
    assert texts_of("字" * 20, size=24) == ["字" * 8, "字" * 8, "字" * 4]


@pytest.mark.parametrize("overlap", [0, 30])
def test_a_long_run_of_blanks_belongs_to_what_stands_before_it(overlap) -> None:
    text = "Start here." + " " * 1000 + "End there, far behind the blanks."
    found = windows(text, size=24, overlap=overlap)
    assert found[0].start == 0
    assert (
        "".join(text[max(own.start, before.end) : own.end] for before, own in pairwise([CharSpan(0, 0), *found]))
        == text
    )


def test_no_text_has_no_window_and_blanks_have_one() -> None:
    assert windows("", size=240) == ()
    assert windows(" \n ", size=1) == (CharSpan(0, 3),)


@pytest.mark.parametrize("text", ["word " * 200_000, "x" * 10**6, " " * 10**6, "字" * 10**5, "A. " * 10**5])
def test_a_long_line_takes_a_moment(text) -> None:
    started = process_time()
    found = windows(text, size=240, overlap=20)
    assert process_time() - started < 10.0
    assert found[-1].end == len(text)
