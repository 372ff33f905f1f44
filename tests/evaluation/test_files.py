"""What an evaluation leaves on disk: pages that cannot be hurt by names, pictures, and files for other programs."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heed.errors import ExtraMissingError, InputError, RecordError
from heed.evaluation import evaluate, export, read_records, statistics, write_report
from heed.evaluation.charts import calibration, histogram, roc

HOSTILE = "<script>alert(1)</script>\"'\u202e&"


def test_a_report_is_whole_and_holds_no_text(table, rows, tmp_path) -> None:
    written = write_report(evaluate(table(), rows), tmp_path / "new" / "report")
    names = ["report.html", "report.json", "scores.jsonl", "roc.svg", "calibration.svg", "histogram.svg"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in written[0].parent.iterdir()) == sorted(names)
    lines = [json.loads(line) for line in written[2].read_text().splitlines()]
    assert len(lines) == len(rows)
    assert set(lines[0]) == {"id", "set", "label", "score", "flagged", "status"}
    assert lines[0]["id"] == rows[0].id
    assert json.loads(written[1].read_text())["overall"]["rows"] == 40
    assert not any(b"some words" in path.read_bytes() for path in written)


def test_the_page_stands_alone_and_escapes_names(table, pair, tmp_path) -> None:
    rows = [pair(0.1, 0, group=HOSTILE), pair(0.9, 1, group=HOSTILE, attack=HOSTILE), pair("none", 0, group="plain")]
    page = write_report(evaluate(table(model=HOSTILE), rows), tmp_path)[0].read_text("utf-8")
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)\s*=|url\(|@import", page)
    assert set(re.findall(r"https?://[^\s\"]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "prefers-color-scheme" in page
    assert '<html lang="en">' in page
    assert page.count('role="img"') == 3
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids)


def test_pictures_are_svg_that_says_what_it_shows(table, rows) -> None:
    judged = evaluate(table(), rows).judged
    for draw, title in ((roc, "ROC curve"), (calibration, "Calibration"), (histogram, "Scores")):
        root = ET.fromstring(draw(judged).svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}title").text == title
        assert root.attrib["aria-label"].startswith(title)
        for shape in root.iter():
            for name in ("cx", "cy", "x", "y", "width", "height"):
                assert float(shape.attrib.get(name, 0)) == pytest.approx(float(shape.attrib.get(name, 0)))  # no nan


def test_the_roc_curve_passes_the_guards_own_point(table, rows) -> None:
    judged = evaluate(table(threshold=0.4), rows).judged
    assert "90.0 % of attacks caught at 20.0 % false alarms" in roc(judged).says
    picture = roc(judged).svg
    circle = ET.fromstring(picture).find(".//{http://www.w3.org/2000/svg}circle").attrib
    points = ET.fromstring(picture).find(".//*[@class='line']").attrib["points"].split()
    close = [tuple(map(float, point.split(","))) for point in points]
    assert min(abs(x - float(circle["cx"])) + abs(y - float(circle["cy"])) for x, y in close) < 2.0  # pixels


def test_what_cannot_be_drawn_is_left_out_and_not_left_lying(table, pair, rows, tmp_path) -> None:
    write_report(evaluate(table(), rows), tmp_path)
    written = write_report(evaluate(table(slope=None), [pair(0.1, 0), pair(0.2, 0)]), tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert not {"roc.svg", "calibration.svg"} & {path.name for path in written}
    none = evaluate(table(), [pair("none", 0), pair("none", 1)]).judged
    assert (histogram(none), calibration(none)) == (None, None)
    assert roc(none) is not None


RECORDS = [
    {"id": 1, "flagged": True, "score": 0.9, "status": "ok", "spans": [{"start": 0, "end": 3}], "seconds": 0.2},
    {
        "id": "=cmd()",
        "flagged": None,
        "score": None,
        "status": "too_long",
        "spans": [],
        "reason": "a\ud800,\n",
        "seconds": 0.4,
    },
]


def test_csv_is_safe_to_open(tmp_path) -> None:
    export(RECORDS, tmp_path / "v.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "v.csv").read_text("utf-8"))))
    assert [row["id"] for row in rows] == ["1", "'=cmd()"]
    assert (rows[0]["flagged"], rows[0]["score"], rows[1]["score"]) == ("True", "0.9", "")
    assert json.loads(rows[0]["spans"]) == RECORDS[0]["spans"]
    assert rows[1]["reason"].startswith("a\\ud800,")


def test_jsonl_goes_round(tmp_path) -> None:
    export(RECORDS, tmp_path / "v.jsonl")
    assert read_records(tmp_path / "v.jsonl") == RECORDS


def test_parquet_keeps_types(tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    export(RECORDS, tmp_path / "v.parquet")
    back = parquet.read_table(tmp_path / "v.parquet")
    assert back.column("score").to_pylist() == [0.9, None]
    assert back.column("flagged").to_pylist() == [True, None]
    assert back.column("id").to_pylist() == ["1", "=cmd()"]
    assert back.column("reason").to_pylist()[0] is None


def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ExtraMissingError, match=r"heed\[parquet\]"):
        export(RECORDS, tmp_path / "v.parquet")
    assert list(tmp_path.iterdir()) == []


def test_other_formats_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"expected a file named .jsonl, .csv or .parquet, found 'v.xlsx'"):
        export(RECORDS, tmp_path / "v.xlsx")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=20)), min_size=1, max_size=5))
def test_any_text_survives_csv_but_for_a_leading_sign(tmp_path, texts) -> None:
    records = [{"id": name, "reason": reason, "flagged": None, "status": "ok"} for name, reason in texts]
    export(records, tmp_path / "v.csv")
    with (tmp_path / "v.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    for row, (_, reason) in zip(rows, texts, strict=True):
        plain = reason.encode("utf-8", "backslashreplace").decode()
        assert row["reason"] in (plain, f"'{plain}")
        assert not row["reason"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_statistics_count_and_summarise() -> None:
    found = statistics(RECORDS)
    assert (found.rows, found.flagged, found.fine, found.abstained) == (2, 1, 0, 1)
    assert found.status == {"ok": 1, "too_long": 1}
    assert (found.score_mean, found.seconds) == (0.9, pytest.approx(0.6))
    assert found.seconds_median == pytest.approx(0.3)
    empty = statistics([{"flagged": None, "status": "bad_line"}])
    assert (empty.score_quantiles, empty.seconds) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected verdicts in .*found none"),
        ('{"id": 1}\n', "line 1, found the fields id"),
        ('{"flagged": true, "status": "ok"}\nnope\n', r"on line 2, found invalid JSON .*\(v.jsonl\)"),
    ],
)
def test_what_no_scan_wrote_is_refused_with_its_line(tmp_path, text, message) -> None:
    (tmp_path / "v.jsonl").write_text(text)
    with pytest.raises(RecordError, match=message):
        read_records(tmp_path / "v.jsonl")
