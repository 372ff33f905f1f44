import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.picture.visible import clean, name, parts, spelled

ANY = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize("char", ["\0", "\x1b", "\x7f", "\x9b", "\ud800", "\uffff", "\x0b"])
def test_clean_replaces_what_no_document_can_carry(char):
    assert clean(f"a{char}b") == "a\ufffdb"


def test_clean_keeps_tabs_and_line_ends():
    assert clean("a\tb\r\nc") == "a\tb\r\nc"


@pytest.mark.parametrize(
    ("char", "called"), [("\u202e", "RLO"), ("\u200b", "ZWSP"), ("\U000e0061", "tag a"), ("\u2061", "U+2061")]
)
def test_name_of_invisible_characters(char, called):
    assert name(char) == called
    assert list(parts(f"x{char}y")) == [("x", ""), (char, called), ("y", "")]


def test_spelled_writes_out_what_would_move_the_cursor():
    assert spelled("a\rb\r\nc\td\u202ee") == "a⟨CR⟩b\nc    d⟨RLO⟩e"


@given(ANY)
def test_parts_lose_nothing(text):
    assert "".join(stretch for stretch, _ in parts(text)) == clean(text)
    assert len(clean(text)) == len(text)


@given(ANY)
def test_clean_and_spelled_can_be_encoded(text):
    clean(text).encode()
    spelled(text).encode()
