"""Log records as JSON lines: what stands in them, and what never does."""

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import RecordError
from heed.guard.data import load_pairs
from heed.logs import JsonFormatter, json_lines, where

LOG = logging.getLogger("heed.somewhere")


@pytest.fixture
def lines():
    """What heed logged, as the JSON of each line."""
    stream = io.StringIO()
    with json_lines(stream):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_time_level_logger_event_and_the_fields(lines):
    LOG.warning("it rained", extra={"model": "m", "seconds": 0.5})
    (line,) = lines()
    assert list(line) == ["time", "level", "logger", "event", "model", "seconds"]
    assert line["time"].endswith("+00:00")
    assert (line["level"], line["logger"], line["event"], line["model"], line["seconds"]) == (
        "WARNING", "heed.somewhere", "it rained", "m", 0.5,
    )  # fmt: skip


def test_an_error_is_told_by_type_and_place_without_its_message(lines, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"data": "a", "label": "a secret"}\n', encoding="utf-8")
    with pytest.raises(RecordError, match="a secret") as caught:
        load_pairs([path])
    LOG.error("failed", extra={"exit_code": 2}, exc_info=caught.value)
    (line,) = lines()
    assert (line["error"], line["exit_code"]) == ("RecordError", 2)
    assert line["where"].startswith("guard/data.py:")
    assert "secret" not in json.dumps(line)


def test_an_error_from_elsewhere_has_no_place():
    with pytest.raises(KeyError) as caught:
        {}["a"]
    assert where(caught.value) is None


def test_afterwards_and_from_others_nothing_is_written():
    stream = io.StringIO()
    with json_lines(stream):
        logging.getLogger("others").error("not ours")
    LOG.error("too late")
    assert stream.getvalue() == ""


@given(st.text(alphabet=st.characters(exclude_categories=())), st.dictionaries(st.sampled_from("abc"), st.text()))
def test_whatever_is_logged_is_one_line_of_ascii_json(event, fields):
    record = logging.makeLogRecord({"msg": event, **fields})
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == event
    assert json.loads(line).items() >= fields.items()


def test_heed_is_silent_until_asked(capfd):
    LOG.error("nobody asked")
    assert capfd.readouterr().err == ""
