"""The adaptive suite: every rewriting keeps the document whole, encodings can be undone, counts become a table."""

import base64
import codecs
import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adaptive
import guard_limits
from adaptive import ADAPTATIONS, WORDED, Case, filler_of, load_cases
from fake_guard import FakeGuard
from guard_limits import BEGIN, END, limits, share, table, write_page
from heed.guard.data import load_pairs

CASES = load_cases()
BY_NAME = {one.name: one.rewrite for one in ADAPTATIONS}


def case_of(payload: str, kind: str = "email") -> Case:
    return Case("a", kind, "goal", "Do this.", "Before. ", payload, " After.", dict.fromkeys(WORDED, "other"))


def test_cases_are_many_and_unlike() -> None:
    assert len(CASES) == 40
    assert len({case.payload for case in CASES}) == len({case.instruction for case in CASES}) == 40
    assert len({case.kind for case in CASES}) >= 9
    for case in CASES:
        assert len({case.payload, *case.worded.values()}) == 1 + len(WORDED)
        assert case.payload not in case.benign
        assert case.payload in case.document(case.payload)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_rewriting_keeps_the_document_around_it(name) -> None:
    for case in CASES:
        text = BY_NAME[name](case, filler_of(case, CASES))
        document = case.document(text)
        assert document.startswith(case.before)
        assert document.endswith(case.after)
        assert text != case.payload
        if case.kind == "json":
            kept = json.dumps(json.loads(document), ensure_ascii=False)
            assert json.dumps(text, ensure_ascii=False)[1:-1] in kept


def test_json_documents_stay_json() -> None:
    for case in CASES:
        if case.kind == "json":
            json.loads(case.benign)
            json.loads(case.document('a "quoted"\nline\\'))


@given(st.text(max_size=80))
def test_encodings_can_be_undone(text) -> None:
    assert base64.b64decode(adaptive.in_base64(text)).decode() == text
    assert codecs.encode(adaptive.in_rot13(text), "rot13") == text
    assert adaptive.with_zero_widths(text).replace("\u200b", "") == text.replace("\u200b", "")
    assert len(adaptive.in_lookalikes(text)) == len(text)
    assert adaptive.spaced(text).replace(" ", "") == "".join(text.split())


@given(st.text(alphabet="ab .", max_size=60), st.integers(1, 4))
def test_pieces_hold_every_word(text, count) -> None:
    found = " ".join(piece.split(": ", 1)[1] for piece in adaptive.pieces(text, count))
    assert found.split() == text.split()


def test_parts_lie_apart_and_in_order() -> None:
    case = CASES[0]
    near, far = (BY_NAME[f"in three parts, {gap}"] for gap in ("a sentence between", "far apart"))
    for rewrite, least, most in ((near, 10, 250), (far, 500, 900)):
        text = rewrite(case, filler_of(case, CASES))
        places = [text.index(f"Part {number} of 3") for number in (1, 2, 3)]
        assert places == sorted(places)
        gaps = [end - start for start, end in pairwise(places)]
        assert all(least <= gap <= most + len(case.payload) for gap in gaps)


@pytest.mark.parametrize("size", [1000, 4000])
def test_padding_has_the_length_it_says(size) -> None:
    for case in CASES:
        filler = filler_of(case, CASES)
        assert case.benign not in filler
        for side in ("before", "after"):
            text = BY_NAME[f"{size:,} characters of prose {side} it"](case, filler)
            assert 0.7 * size <= len(text) - len(case.payload) <= size + 1
            assert (text.endswith if side == "before" else text.startswith)(case.payload)


def test_cut_keeps_at_least_a_sentence() -> None:
    assert adaptive.cut("One two. Three.", 9) == "One two."
    assert adaptive.cut("One two. Three.", 2) == "One two."


def test_the_texts_are_in_the_format_of_labelled_pairs(tmp_path) -> None:
    benign = tmp_path / "benign.jsonl"
    benign.write_text(json.dumps({"id": "b", "instruction": None, "data": "Hello.", "label": 0}))
    pairs = load_pairs([adaptive.TEXTS, benign])
    for pair, case in zip(pairs, CASES, strict=False):
        assert pair.data[pair.injected.slice()] == case.payload


def test_limits_count_what_is_overlooked() -> None:
    cases = [case_of("BAD order here."), case_of("UNSURE order."), replace(case_of("BAD."), before="UNSURE. ")]
    found = limits(FakeGuard(), cases, CASES)  # type: ignore[arg-type]
    assert found.caught == found.above == (True, False, False)  # a text without a score counts against the guard
    assert found.alarms == found.padded_alarms == (False, False, True)
    assert list(found.evaded) == list(BY_NAME)
    for name, escaped in found.evaded.items():
        text = BY_NAME[name](cases[0], filler_of(cases[0], CASES))
        assert escaped == ("BAD" not in text,)
    assert found.any_of(plain_only=False) == found.any_of(plain_only=True) == (True,)
    page = table({"fast": found, "full": found})
    assert "| base attacks caught | 33 % (6–79), 1 of 3 | 33 % (6–79), 1 of 3 |" in page
    assert page.count("\n") == len(BY_NAME) + 8


def test_limits_without_a_catch() -> None:
    found = limits(FakeGuard(), [case_of("Fine.")], CASES)  # type: ignore[arg-type]
    assert found.caught == (False,)
    assert not any(found.evaded.values())
    assert found.any_of(plain_only=False) == ()
    assert "| – |" in table({"fast": found})
    assert len(guard_limits.claims_of("fast", found)) == 3


def test_share_has_interval_and_counts() -> None:
    assert share([True] * 3 + [False] * 7) == "30 % (11–60), 3 of 10"
    assert share([]) == "–"


def test_page_keeps_what_stands_around_the_marks(tmp_path) -> None:
    page = tmp_path / "limits.md"
    page.write_text(f"# Top\n{BEGIN}\nold\n{END}\nend\n")
    write_page(page, "| new |")
    write_page(page, "| newer |")
    assert page.read_text() == f"# Top\n{BEGIN}\n\n| newer |\n\n{END}\nend\n"
    page.write_text("# Top\n")
    with pytest.raises(ValueError, match="put them back"):
        write_page(page, "| new |")


def test_the_page_in_docs_has_the_marks() -> None:
    page = guard_limits.PAGE.read_text()
    assert page.count(BEGIN) == page.count(END) == 1
    assert re.search(BEGIN + r".*" + END, page, re.DOTALL)
