"""String values of JSON and where their characters stand in the raw text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from heed.text.fields import fields
from heed.text.span import CharSpan

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def strings(value: object) -> list[str]:
    """String values in the order they are written; JSON within a string is looked into."""
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except ValueError:
            return [value]
        return strings(inner) if isinstance(inner, dict | list) else [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


@given(
    VALUES.filter(lambda value: isinstance(value, dict | list | str)),
    st.booleans(),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_every_string_value_is_found_and_maps_back(value, ascii_only, indent, wrapped):
    if wrapped and not isinstance(value, str):
        value = {"content": [{"type": "text", "text": json.dumps(value, ensure_ascii=ascii_only)}]}
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    found = fields(raw)
    assert [field.text for field in found] == strings(value)
    for field in found:
        assert len(field.edges) == len(field.text) + 1
        assert list(field.edges) == sorted(set(field.edges))
        for at in range(len(field.text)):
            span = CharSpan(at, at + 1)
            place = field.raw(span)
            assert field.within(place) == span
            if "content" not in field.path:
                assert json.loads(f'"{raw[place.slice()]}"') == field.text[at]


def test_paths_name_the_values():
    raw = '{"mails": [{"from": "a", "body text": "b"}, ["c"]], "ünit": {"x-y": "d", "": "e"}, "n": [1, {}, [], "f"]}'
    assert {field.path: field.text for field in fields(raw)} == {
        "$.mails[0].from": "a",
        '$.mails[0]["body text"]': "b",
        "$.mails[1][0]": "c",
        '$.ünit["x-y"]': "d",
        '$.ünit[""]': "e",
        "$.n[3]": "f",
    }


def test_json_within_json_is_looked_into():
    inner = json.dumps({"title": "T", "body": 'say "hi"\n'})
    raw = json.dumps({"content": [{"type": "text", "text": inner}]})
    found = {field.path: field for field in fields(raw)}
    body = found["$.content[0].text.body"]
    assert body.text == 'say "hi"\n'
    assert raw[body.raw(CharSpan(4, 5)).slice()] == '\\\\\\"'


def test_half_an_escape_counts_whole():
    raw = r'["a\u00e9\ud83d\ude00b"]'
    (field,) = fields(raw)
    assert field.text == "aé😀b"
    assert field.within(CharSpan(5, 6)) == CharSpan(1, 2)
    assert field.within(CharSpan(12, 18)) == CharSpan(2, 3)
    assert raw[field.raw(CharSpan(1, 3)).slice()] == r"\u00e9\ud83d\ude00"
    assert field.within(CharSpan(0, 2)) is None
    assert field.within(CharSpan(4, 4)) is None


def test_what_is_no_json_is_one_field():
    for text in ("", "plain", '{"a": 1', "[1] and more", "12", "{'a': 'b'}", "[" * 100_000):
        (field,) = fields(text)
        assert (field.path, field.text) == ("", text)
        assert field.raw(CharSpan(0, len(text))) == CharSpan(0, len(text))
    assert fields("[1, {}]") == ()
