from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from heed.errors import InputError
from heed.picture.blocks import Run, check, joined, level, lines, percent, runs, stretches
from heed.text.evidence import Evidence, Passage, WeightedSpan
from heed.text.span import CharSpan

TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


@st.composite
def evidences(draw):
    edges = st.tuples(st.integers(0, 350), st.integers(0, 350), st.floats(0, 1))
    spans = draw(st.lists(edges, max_size=6))
    return Evidence(draw(TEXT), tuple(WeightedSpan(CharSpan(min(a, b), max(a, b)), w) for a, b, w in spans))


def weighted(start, end, weight):
    return WeightedSpan(CharSpan(start, end), weight)


def test_runs_cut_text_at_spans_and_clip_them():
    found = runs(Evidence("abcdef", (weighted(1, 3, 0.5), weighted(4, 99, 0.25), weighted(50, 60, 0.9))))
    assert found == (Run("a"), Run("bc", 0, 0.5), Run("d"), Run("ef", 1, 0.25))


def test_runs_draw_the_heaviest_of_overlapping_spans():
    found = runs(Evidence("abcdef", (weighted(0, 6, 0.2), weighted(2, 4, 0.7))))
    assert found == (Run("ab", 0, 0.2), Run("cd", 1, 0.7), Run("ef", 0, 0.2))


def test_runs_keep_neighbouring_spans_of_one_weight_apart():
    found = runs(Evidence("abcd", (weighted(0, 2, 0.5), weighted(2, 4, 0.5))))
    assert found == (Run("ab", 0, 0.5), Run("cd", 1, 0.5))


@given(evidences())
def test_runs_lines_and_stretches_lose_nothing(evidence):
    pieces = runs(evidence)
    assert "".join(run.text for run in pieces) == evidence.text
    laid = lines(pieces, width=20)
    chosen = stretches(laid, around=1, whole=4, least=2)
    assert tuple(line for stretch in chosen for line in stretch.lines) == laid
    assert "".join(run.text for stretch in chosen for run in joined(stretch)) == evidence.text
    assert not any(run.mark is not None for s in chosen if not s.shown for line in s.lines for run in line)


@given(TEXT)
def test_lines_fit_their_width(text):
    for line in lines([Run(text)], width=10):
        shown = "".join(run.text for run in line).rstrip(" \n")
        assert cell_len(shown) <= 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three", ["one two ", "three"]),
        ("abcdefgh ij", ["abcdefgh ", "ij"]),
        ("abcdefghij", ["abcdefgh", "ij"]),
        ("a\n\nb", ["a\n", "\n", "b"]),
        ("日本語日本語", ["日本語日", "本語"]),
        ("\u2639\ufe0f" * 6, ["\u2639\ufe0f" * 4, "\u2639\ufe0f" * 2]),
        ("", []),
    ],
)
def test_lines_break_at_spaces(text, expected):
    assert ["".join(run.text for run in line) for line in lines([Run(text)], width=8)] == expected


def test_stretches_show_the_lines_around_marks_and_both_ends():
    text = "\n".join(f"line {i:02}" for i in range(50))
    start = text.index("line 25")
    chosen = stretches(
        lines(runs(Evidence(text, (weighted(start, start + 4, 1.0),))), width=40), around=2, whole=10, least=3
    )
    assert [(s.shown, len(s.lines)) for s in chosen] == [(True, 2), (False, 21), (True, 5), (False, 20), (True, 2)]


def test_stretches_show_short_texts_whole_and_short_gaps():
    laid = lines([Run("x\n" * 10)], width=10)
    assert [(s.shown, len(s.lines)) for s in stretches(laid, around=1, whole=10, least=3)] == [(True, 10)]
    assert [(s.shown, len(s.lines)) for s in stretches(laid, around=4, whole=5, least=3)] == [(True, 10)]
    assert [s.shown for s in stretches(laid, around=1, whole=5, least=8)] == [True, False, True]


def test_stretches_end_gaps_at_paragraphs():
    laid = lines([Run(("word " * 5 + "\n") * 12)], width=15)
    chosen = stretches(laid, around=1, whole=4, least=2)
    assert [(s.shown, len(s.lines)) for s in chosen] == [(True, 2), (False, 20), (True, 2)]


def test_level_is_relative_to_the_heaviest():
    assert [level(w, 0.4) for w in (0.0, 0.09, 0.1, 0.2, 0.31, 0.4)] == [1, 1, 2, 3, 4, 4]
    assert level(0.0, 0.0) == 1


def test_percent():
    assert [percent(w) for w in (0, 0.0001, 0.041, 0.0996, 0.62, 1)] == ["0%", "<0.1%", "4.1%", "10%", "62%", "100%"]


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan"), float("inf")])
def test_check_refuses_weights_that_are_no_shares(scene, weight):
    bad = replace(scene, passages=(Passage("Data", Evidence("abc", (weighted(0, 1, weight),))),))
    with pytest.raises(InputError, match=r"expected weight of a mark in 'Data' in \[0, 1\], found"):
        check(bad)


@pytest.mark.parametrize(("risk", "said"), [((float("nan"), None), "risk"), ((0.5, 7.0), "threshold")])
def test_check_refuses_a_risk_outside_its_range(scene, risk, said):
    with pytest.raises(InputError, match=rf"expected {said} in \[0, 1\]"):
        check(replace(scene, risk=risk))


def test_check_refuses_grids_of_two_shapes(scene):
    heads = replace(scene.heads, weights=np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"one shape \[layers, heads\], found \(2, 3\) and \(3, 2\)"):
        check(replace(scene, heads=heads))
