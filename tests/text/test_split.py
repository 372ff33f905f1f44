import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.text import sentences, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop: 3 x-y, a_b!", ["Don't", "stop", "3", "x", "y", "a_b"]),
        ("'quoted' l’été ''", ["quoted", "l’été"]),
        ("नमस्ते e\u0301t \u0301x", ["नमस्ते", "e\u0301t", "x"]),
        ("日本語です!OK東京", ["日", "本", "語", "で", "す", "OK", "東", "京"]),
        ("שלום עולם 😀 👩‍💻", ["שלום", "עולם"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert [text[span.slice()] for span in words(text)] == expected


@given(st.text())
def test_words_are_in_order_and_hold_all_letters(text: str) -> None:
    spans = words(text)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    inside = {at for span in spans for at in range(span.start, span.end)}
    assert inside >= {at for at, character in enumerate(text) if character.isalnum()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ("See e.g. this, no. 3.5 too. “Yes.” Done", ["See e.g. this, no. ", "3.5 too. ", "“Yes.” ", "Done"]),
        ("First\n\n second line\nthird. ", ["First\n\n ", "second line\n", "third. "]),
        ("日本。「はい。」です", ["日本。", "「はい。」", "です"]),
        ("\n", ["\n"]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[span.slice()] for span in sentences(text)] == expected


@given(st.text(st.sampled_from(".!? \nabA。」\"'é")) | st.text())
def test_sentences_cover_the_text(text: str) -> None:
    assert "".join(text[span.slice()] for span in sentences(text)) == text


@pytest.mark.parametrize(
    "text", ["." * 200_000 + "a", " " * 200_000 + "a", ".)" * 100_000, "。" * 200_000, "\n" * 200_000]
)
def test_sentences_are_linear_in_the_text(text: str) -> None:
    start = time.perf_counter()
    sentences(text)
    assert time.perf_counter() - start < 2
