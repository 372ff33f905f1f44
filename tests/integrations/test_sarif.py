"""SARIF 2.1.0, held against the standard: required properties, indices that point somewhere, regions that fit."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.integrations.sarif import sarif
from heed.text.evidence import WeightedSpan
from heed.text.span import CharSpan
from integrations.scripted import ATTACK, CLEAN, verdict

JUDGED = [("a/fine.txt", verdict(CLEAN)), ("a b/ä.txt", verdict(f"x\n{ATTACK}")), ("long.txt", verdict("TOO LONG"))]
REQUIRED = {
    "sarifLog": {"version", "runs"},
    "run": {"tool"},
    "driver": {"name"},
    "rule": {"id"},
    "result": {"message"},
    "notification": {"message"},
    "invocation": {"executionSuccessful"},
}
"""What the standard requires of each object."""
LEVELS, KINDS = (
    {"none", "note", "warning", "error"},
    {"fail", "review", "pass", "open", "informational", "notApplicable"},
)


def check_structure(log):
    """What the standard demands of a log as heed writes it."""
    json.dumps(log, allow_nan=False)
    assert REQUIRED["sarifLog"] <= log.keys()
    assert log["version"] == "2.1.0"
    for run in log["runs"]:
        driver = run["tool"]["driver"]
        assert REQUIRED["run"] <= run.keys()
        assert REQUIRED["driver"] <= driver.keys()
        assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
        for rule in [*driver["rules"], *driver["notifications"]]:
            assert REQUIRED["rule"] <= rule.keys()
            assert rule["defaultConfiguration"]["level"] in LEVELS
        for result in run["results"]:
            assert REQUIRED["result"] <= result.keys()
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["kind"] in KINDS
            assert result["level"] in (LEVELS if result["kind"] == "fail" else {"none"})
            for place in [*result["locations"], *result.get("relatedLocations", ())]:
                check_place(place, run)
        for invocation in run["invocations"]:
            assert REQUIRED["invocation"] <= invocation.keys()
            for notification in invocation["toolExecutionNotifications"]:
                assert REQUIRED["notification"] <= notification.keys()
                descriptor = notification["descriptor"]
                assert driver["notifications"][descriptor["index"]]["id"] == descriptor["id"]
                for place in notification["locations"]:
                    check_place(place, run)


def check_place(place, run):
    physical = place["physicalLocation"]
    uri = physical["artifactLocation"]["uri"]
    assert re.fullmatch(r"[\w\-.~:/?#\[\]@!$&'()*+,;=%]+", uri, re.ASCII)
    assert uri in [artifact["location"]["uri"] for artifact in run["artifacts"]]
    for name, low in (("startLine", 1), ("startColumn", 1), ("endLine", 1), ("endColumn", 1), ("charOffset", 0)):
        assert physical.get("region", {name: low})[name] >= low


def test_it_follows_the_standard():
    check_structure(sarif(JUDGED, exit_code=1))


def test_flagged_texts_are_results_and_abstentions_notifications():
    log = sarif(JUDGED, exit_code=1)
    (run,) = log["runs"]
    (result,), (invocation,) = run["results"], run["invocations"]
    (notification,) = invocation["toolExecutionNotifications"]
    assert (result["ruleId"], result["kind"], result["level"]) == ("prompt-injection", "fail", "error")
    assert result["properties"] == {"score": 0.9, "threshold": 0.5, "probability": 0.8}
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b/%C3%A4.txt"
    assert place["region"] == {
        "startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 7, "charOffset": 2, "charLength": 6,
    }  # fmt: skip
    assert notification["message"]["text"] == "too_long: found too many tokens"
    assert notification["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "long.txt"
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 1)
    assert sarif(JUDGED[:2])["runs"][0]["invocations"][0]["executionSuccessful"] is True


def test_what_is_judged_injected_comes_before_heavy_words_and_further_places_are_related():
    spans = tuple(WeightedSpan(CharSpan(at, at + 1), 0.5) for at in (3, 0))
    flagged = replace(verdict(ATTACK), spans=spans)
    (result,) = sarif([("-", flagged)])["runs"][0]["results"]
    assert [place["physicalLocation"]["region"]["charOffset"] for place in result["locations"]] == [3]
    assert [
        (place["id"], place["physicalLocation"]["region"]["charOffset"]) for place in result["relatedLocations"]
    ] == [(1, 0)]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "stdin"


def test_a_flagged_text_without_spans_has_its_file_as_location():
    log = sarif([("/tmp/a.txt", replace(verdict(ATTACK), spans=()))])
    check_structure(log)
    (place,) = log["runs"][0]["results"][0]["locations"]
    assert place == {"physicalLocation": {"artifactLocation": {"uri": "file:///tmp/a.txt"}}}


def test_the_review_band_is_a_result_to_review():
    log = sarif([("a.txt", replace(verdict(CLEAN), review=0.05))])
    check_structure(log)
    (result,) = log["runs"][0]["results"]
    assert (result["kind"], result["level"]) == ("review", "none")


@given(st.text(alphabet="ab\r\n\ufeff\u2028😀"), st.data())
def test_regions_lead_back_to_the_text(text, data):
    """Lines end at CRLF and LF only, as the run declares; a byte order mark at the start is no character."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    spans = (WeightedSpan(CharSpan(start, end), 1.0),)
    log = sarif([("a.txt", replace(verdict(ATTACK), data=text, spans=spans))])
    region = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]
    body = text.removeprefix("\ufeff")
    lines = re.split(r"(?<=\n)", body)

    def offset(line, column):
        return sum(map(len, lines[: line - 1])) + column - 1

    named = text[start:end].removeprefix("\ufeff") if start == 0 else text[start:end]
    assert body[region["charOffset"] :][: region["charLength"]] == named
    assert offset(region["startLine"], region["startColumn"]) == region["charOffset"]
    assert offset(region["endLine"], region["endColumn"]) == region["charOffset"] + region["charLength"]


@pytest.mark.parametrize("judged", [[], JUDGED[:1], JUDGED[2:]])
def test_runs_without_findings_are_logs_too(judged):
    log = sarif(judged)
    check_structure(log)
    assert log["runs"][0]["results"] == []
