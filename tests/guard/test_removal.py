"""What remains of a text and what was taken: offsets, seams, JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.guard.removal import NOTICE, Remainder
from heed.text.span import CharSpan

TEXT = st.text(alphabet=st.sampled_from('ab.é😀\\" \n\t{}[],:'), max_size=40)


@st.composite
def spans(draw, size: int) -> list[CharSpan]:
    ends = st.integers(0, size)
    return [CharSpan(*sorted(draw(st.tuples(ends, ends)))) for _ in range(draw(st.integers(0, 3)))]


def reassembled(rest: Remainder) -> str:
    taken = [*(removal.text for removal in rest.removed), ""]
    return "".join(rest.data[kept.slice()] + text for kept, text in zip(rest.kept, taken, strict=True))


def check(rest: Remainder) -> None:
    """What holds after any removal."""
    assert reassembled(rest) == rest.data
    places = [removal.span for removal in rest.removed]
    assert places == sorted(places)
    assert all(rest.data[r.span.slice()] == r.text and r.text for r in rest.removed)
    assert rest.text.replace(NOTICE, "") == "".join(rest.data[kept.slice()] for kept in rest.kept)


@given(st.data(), st.sampled_from(["", NOTICE]))
def test_removed_and_kept_reassemble_the_text_over_rounds(data, notice):
    text = data.draw(TEXT.filter(lambda text: not text.strip().startswith(("{", "[", '"'))))
    rest = Remainder(text, notice)
    asked: set[int] = set()
    for _ in range(3):
        chosen = data.draw(spans(len(rest.text)))
        shown = [at for kept in rest.kept for at in [*range(kept.start, kept.end), *[None] * len(notice)]]
        asked |= {shown[at] for span in chosen for at in range(span.start, span.end)} - {None}
        rest = rest.without(chosen)
        check(rest)
        gone = {at for removal in rest.removed for at in range(removal.span.start, removal.span.end)}
        assert {at for at in asked if text[at].strip()} == {at for at in gone if text[at].strip()}
        assert rest.without(chosen if rest.text == text else []) == rest


@given(st.data(), st.sampled_from(["", NOTICE]), st.booleans())
def test_json_stays_json_of_the_same_shape(data, notice, ascii_only):
    inner = st.dictionaries(st.sampled_from("xy"), TEXT, max_size=2)
    value = data.draw(st.fixed_dictionaries({"a": TEXT, "b": st.lists(TEXT | st.integers(), max_size=3), "c": inner}))
    if data.draw(st.booleans()):
        value["d"] = json.dumps(value)
    raw = json.dumps(value, ensure_ascii=ascii_only)
    rest = Remainder(raw, notice)
    for _ in range(2):
        rest = rest.without(data.draw(spans(len(rest.text))))
        check(rest)
        assert shape(json.loads(rest.text)) == shape(value)


def shape(value):
    """The value with an empty string for every string but ``d``, which holds JSON."""
    if isinstance(value, dict):
        return {key: shape(json.loads(item) if key == "d" else item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "" if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("text", "removed", "left"),
    [
        ("One. BAD. Two.", "BAD.", "One. Two."),
        ("One. BAD. Two.", "BAD. ", "One. Two."),
        ("One. BAD. Two.", " BAD. ", "One. Two."),
        ("One.\n\nBAD.\n\nTwo.", "BAD.\n\n", "One.\n\nTwo."),
        ("One.\n\nBAD.\nTwo.", "BAD.", "One.\n\nTwo."),
        ("- a\n  BAD\n  - b", "BAD", "- a\n  - b"),
        ("a\nBAD\n    code", "BAD", "a\n    code"),
        ("aBADb", "BAD", "ab"),
        ("BAD. One.", "BAD.", " One."),
        ("One. BAD.", "BAD.", "One. "),
        ("BAD", "BAD", ""),
    ],
)
def test_blanks_are_not_doubled_at_the_seam(text, removed, left):
    start = text.index(removed)
    assert Remainder(text).without([CharSpan(start, start + len(removed))]).text == left


def test_a_mask_stands_between_the_blanks():
    rest = Remainder("One. BAD. WORSE. Two.", NOTICE).without([CharSpan(5, 10), CharSpan(10, 17)])
    assert rest.text == f"One. {NOTICE} Two."
    assert [removal.text for removal in rest.removed] == ["BAD. WORSE."]
    assert rest.without([CharSpan(6, 9)]) is rest  # the notice itself shows nothing that could be taken


def test_only_the_string_values_of_json_lose_characters():
    raw = '{"from": "Ann", "body": "Hi.\\n\\u0042AD \\"now\\".\\nBye.", "n": 3}'
    start, end = raw.index("\\u0042") + 2, raw.index("\\nBye")
    rest = Remainder(raw).without([CharSpan(start, end)])
    assert json.loads(rest.text) == {"from": "Ann", "body": "Hi.\nBye.", "n": 3}
    (removal,) = rest.removed
    assert (removal.field, removal.text) == ("$.body", '\\n\\u0042AD \\"now\\".')
    across = Remainder(raw, NOTICE).without([CharSpan(10, len(raw))])
    assert json.loads(across.text) == {"from": NOTICE, "body": NOTICE, "n": 3}
    assert Remainder(raw).without([CharSpan(0, 8)]).text is raw
