import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from heed.errors import ExtraMissingError
from heed.integrations.otel import record
from heed.integrations.screen import Screen
from integrations.scripted import ATTACK, CLEAN, ScriptedGuard, verdict


@pytest.fixture(scope="module")
def exporter():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before, trace._TRACER_PROVIDER = trace._TRACER_PROVIDER, provider  # a process may set its own only once
    yield exporter
    trace._TRACER_PROVIDER = before


@pytest.fixture
def spans(exporter):
    exporter.clear()
    return exporter.get_finished_spans


def test_verdict_and_enforcement_stand_apart(spans):
    record(verdict(ATTACK), "sanitize")
    (span,) = spans()
    (event,) = span.events
    assert (span.name, event.name) == ("heed.guard.check", "heed.guard.enforced")
    assert {key.removeprefix("heed.guard."): value for key, value in span.attributes.items()} == {
        "status": "ok",
        "verdict": "flagged",
        "score": 0.9,
        "threshold": 0.5,
        "probability": 0.8,
        "seconds": 0.25,
        "tokens": 7,
        "model": "scripted",
    }
    assert dict(event.attributes) == {"heed.guard.action": "sanitize"}
    assert span.end_time - span.start_time == 250_000_000


def test_an_abstention_is_one_and_what_is_unknown_is_left_out(spans):
    record(verdict("TOO LONG"), "replace")
    (span,) = spans()
    assert (span.attributes["heed.guard.verdict"], span.attributes["heed.guard.status"]) == ("abstained", "too_long")
    assert "heed.guard.score" not in span.attributes


def test_it_is_told_what_a_screen_enforced(spans):
    Screen(ScriptedGuard(), policy="block", on_verdict=record).texts([CLEAN, ATTACK])
    told = [(span.attributes["heed.guard.verdict"], span.events[0].attributes["heed.guard.action"]) for span in spans()]
    assert told == [("fine", "allow"), ("flagged", "block")]


@given(st.text(alphabet="äöüßéñ漢字😀", min_size=1), st.sampled_from([ATTACK, "TOO LONG", ""]))
def test_nothing_of_the_text_is_exported(exporter, text, mark):
    """The letters are none that heed's own words are made of, so that any one found came from the text."""
    exporter.clear()
    Screen(ScriptedGuard(), on_verdict=record).text(text + mark, instruction=text)
    (span,) = exporter.get_finished_spans()
    exported = span.to_json(indent=None).encode().decode("unicode_escape")
    assert not {*text} & {*exported}
    assert ATTACK not in exported
    assert "TOO LONG" not in exported


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "heed.integrations.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'heed\[otel\]'"):
        __import__("heed.integrations.otel")
