import pytest

from heed.errors import SpanNotFoundError
from heed.text import CharMap, CharSpan
from heed.text.charmap import Segment


def test_identity_maps_each_character_to_itself() -> None:
    charmap = CharMap.identity(5)
    assert charmap.to_rendered(CharSpan(1, 3)) == charmap.to_raw(CharSpan(1, 3)) == CharSpan(1, 3)


def test_trimmed_characters_are_not_found() -> None:
    charmap = CharMap.identity(3, skip=2)
    assert charmap.to_rendered(CharSpan(0, 4)) == CharSpan(0, 2)
    assert charmap.to_raw(CharSpan(1, 9)) == CharSpan(3, 5)
    with pytest.raises(
        SpanNotFoundError, match=r"expected characters that stand in the rendered text, found none in 0\.\.2"
    ):
        charmap.to_rendered(CharSpan(0, 2))
    with pytest.raises(SpanNotFoundError, match=r"found none in 1\.\.1"):
        charmap.to_raw(CharSpan(1, 1))


def test_an_inexact_segment_is_found_as_a_whole() -> None:
    escape = Segment(CharSpan(2, 8), CharSpan(3, 4), exact=False)
    charmap = CharMap((Segment(CharSpan(0, 2), CharSpan(1, 3)), escape, Segment(CharSpan(8, 10), CharSpan(4, 6))))
    assert charmap.to_rendered(CharSpan(5, 6)) == CharSpan(3, 4)
    assert charmap.to_raw(CharSpan(3, 4)) == CharSpan(2, 8)
    assert charmap.to_raw(CharSpan(2, 5)) == CharSpan(1, 9)
    with pytest.raises(SpanNotFoundError):
        charmap.to_raw(CharSpan(0, 1))


def test_part_is_the_map_of_a_stretch_alone() -> None:
    charmap = CharMap.identity(6, skip=2)
    assert charmap.part(CharSpan(0, 4)) == (CharSpan(0, 2), CharMap.identity(2, skip=2))
    assert charmap.part(CharSpan(4, 9)) == (CharSpan(2, 6), CharMap.identity(4))
    assert charmap.part(CharSpan(0, 2)) == (CharSpan(0, 0), CharMap(()))
    assert charmap.part(CharSpan(8, 9)) == (CharSpan(6, 6), CharMap(()))
