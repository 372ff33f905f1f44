import re
from dataclasses import replace

import pytest

from heed.errors import InputError
from heed.evaluation.runs import compare_runs, read_run, write_page
from heed.evaluation.runs.report import page, stretches
from heed.picture import show


def plain(html):
    return re.sub(r"<[^>]+>", "", html)


@pytest.fixture
def run(go, scripted, reader, write_task):
    rows = [
        {
            "units": ["Ann has 5 pears.", "Bob <b>has</b> two."],
            "question": f"How many & {n}?",
            "target": "5",
            "gold": [0],
        }
        for n in range(4)
    ]
    said = {"0": "Answer: 5", "1": "Answer: 6", "2": "none <script>alert()</script>\u202e"}

    def say(prompt):
        number = re.search(r"& (\d)", prompt)[1]
        if number == "3":
            raise InputError("expected less, found <more>")
        return said[number]

    return read_run(go(scripted(say), write_task(rows), reader=reader).place.folder)


def test_the_page_shows_every_example_and_escapes_it(run):
    html = page(run)
    assert html.count("<article") == 4
    assert [html.count(f'data-grade="{grade}"') for grade in ("correct", "wrong", "unparsed", "error")] == [2, 2, 2, 2]
    assert "<script" not in html
    assert "&lt;script&gt;alert()&lt;/script&gt;⟨RLO⟩" in html
    assert "expected less, found &lt;more&gt;" in html
    assert "1 of 4 correct (25.0%" in html
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", html)


def test_facts_and_gold_are_marked_in_the_context(run):
    parts = list(stretches(run.samples[0]))
    assert "".join(part.text for part in parts) == run.samples[0]["context"]
    assert {part.rank for part in parts if part.text.strip()} == {1, 2}
    assert [part.gold for part in parts if part.text.strip()] == [True, False]
    html = page(run)
    assert html.count("<mark") == 6
    assert "Bob &lt;b&gt;has&lt;/b&gt; two.<sup>" in html


def test_each_grade_can_be_picked_without_a_script(run):
    html = page(run)
    for grade in ("correct", "wrong", "unparsed", "error"):
        assert f'main:has(#only-{grade}:checked) article:not([data-grade="{grade}"])' in html
    assert 'id="only-timeout"' not in html


def test_headings_share_the_tracks_of_their_columns_whatever_their_size(run):
    html = page(run)
    tracks = re.search(r"--tracks: ([^;]+);", html)[1]
    assert "ch" not in tracks
    assert "em" not in tracks.replace("rem", "")
    assert re.findall(r"grid-template-columns: ([^;}]+)", html.split("</style>")[0])[1:] == ["var(--tracks)"]
    assert re.search(r"\.filters label {[^}]*white-space: nowrap", html)


def test_an_id_is_shown_where_it_says_more_than_the_number(run):
    assert page(run).count('<p class="muted">0</p>') == 0
    named = replace(run, samples=({**run.samples[0], "id": "ann-5"},))
    assert '<p class="muted">ann-5</p>' in page(named)


def test_the_page_is_written_where_asked(run, tmp_path):
    assert write_page(run) == run.folder / "report.html"
    assert write_page(run, tmp_path / "p.html").read_text("utf-8") == page(run)


def test_two_runs_are_compared_example_by_example(go, scripted, tmp_path):
    def by(right):
        return lambda prompt: f"Answer: {prompt.split()[2] if int(prompt.split()[2]) in right else 99}"

    first = read_run(go(scripted(by({*range(9)}), name="a")).place.folder)
    second = read_run(go(scripted(by({8, 9}), name="b")).place.folder)
    found = compare_runs(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (1, 8, 1, 2)
    assert found.difference == pytest.approx(7 / 12)
    assert found.interval.low > 0
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)
    assert found.verdict == "a is more accurate on these examples."
    assert [one["index"] for one in found.differing] == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    same = compare_runs(first, first)
    assert same.p == 1.0
    assert same.verdict.startswith("No difference is shown")


def test_runs_of_other_examples_are_not_compared(go, scripted, write_task):
    right = scripted(lambda prompt: "Answer: 1")
    first = read_run(go(right, 3).place.folder)
    part = read_run(go(scripted(right.say, name="b"), 8, lo=5).place.folder)
    with pytest.raises(InputError, match="expected runs that share examples of sums, found none"):
        compare_runs(first, part)
    path = write_task([{"input": "Ann has many.\n\nHow many?", "target": "1"}])
    other = read_run(go(scripted(right.say, name="c"), path).place.folder)
    with pytest.raises(InputError, match="expected the same example 0 in both runs"):
        compare_runs(first, other)


def test_a_run_is_a_picture_of_its_first_examples(run):
    scene = run.scene()
    assert scene.headline == run.summary.line
    assert [one.label for one in scene.passages][:3] == [
        "example 0: context",
        "example 0: question",
        "example 0: answer (correct)",
    ]
    best = run.samples[0]["attention"]["facts"][0]
    assert scene.passages[0].evidence.words()[0] == run.samples[0]["context"][best["start"] : best["end"]]
    assert dict(scene.facts)["examples"] == "4"
    text = show(run).text(width=80)
    assert "1 of 4 correct" in text
    assert "\u202e" not in text
    many = replace(run, samples=tuple({**run.samples[0], "index": n} for n in range(9)))
    assert many.scene().notes == ("8 of 9 examples are shown; `heed run report` shows all",)
