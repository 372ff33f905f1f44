import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import SpanNotFoundError
from heed.text import CharSpan
from heed.text.forms import align_json, forms

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@given(text)
def test_forms_map_back_to_the_same_characters(raw: str) -> None:
    found = list(forms(raw))
    written = [form for form, _ in found]
    assert written[0] == raw
    assert {
        raw.strip(),
        raw.lstrip("\n"),
        json.dumps(raw)[1:-1],
        json.dumps(raw.strip(), ensure_ascii=False)[1:-1],
    } <= {*written}
    for form, charmap in found:
        for at in range(len(form)):
            origin = charmap.to_raw(CharSpan(at, at + 1))
            assert len(origin) == 1
            place = charmap.to_rendered(origin)
            assert place.start <= at < place.end
            assert raw[origin.slice()] == (form[at] if len(place) == 1 else json.loads(f'"{form[place.slice()]}"'))


@given(st.dictionaries(text, values, max_size=4), st.booleans(), st.sampled_from([None, 2]))
def test_align_json_follows_other_blanks_and_escapes(
    value: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    raw = json.dumps(value, ensure_ascii=not ascii_only, separators=(" ,", ":"))
    written = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    charmap, end = align_json(raw, f"--{written}--", at=2)
    assert end == 2 + len(written)
    for at, character in enumerate(raw):
        if character in "{}[]:," or character.isalnum():
            place = charmap.to_rendered(CharSpan(at, at + 1))
            origin = charmap.to_raw(place)
            assert origin.start <= at < origin.end


def test_align_json_maps_escapes_to_characters() -> None:
    raw = r'{"caf\u00e9": "\ud83d\ude00 a\/b", "n": 1E2}'
    written = json.dumps(json.loads(raw), ensure_ascii=False)
    charmap, _ = align_json(raw, written, at=0)
    emoji, number = written.index("😀"), written.index("100.0")
    assert raw[charmap.to_raw(CharSpan(emoji, emoji + 1)).slice()] == r"\ud83d\ude00"
    assert raw[charmap.to_raw(CharSpan(number, number + 1)).slice()] == "1E2"
    assert written[charmap.to_rendered(CharSpan(raw.index(r"\/"), raw.index(r"\/") + 1)).slice()] == "/"


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": "x"}', '{"a": "y"}'),
        ('{"a": "x"}', '{"a": "xy"}'),
        ('{"a": true}', '{"a": false}'),
        ('{"a": 1, "a": 2}', '{"a": 2}'),
        ('{"a": 1}', '{"a": 1'),
    ],
)
def test_align_json_refuses_other_values(raw: str, written: str) -> None:
    with pytest.raises(SpanNotFoundError, match="expected the rendered JSON to say"):
        align_json(raw, written, at=0)
