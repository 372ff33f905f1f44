"""`retry_errors`: what failed is done again, nothing else is touched."""

import json

import pytest

from heed.errors import InputError, JobError, UpstreamTimeoutError
from heed.evaluation.runs import Asking
from heed.evaluation.runs import reader as reader_module
from heed.evaluation.runs.samples import read_samples


def right(prompt):
    return "Answer: " + prompt.split()[2]


def failing(*numbers, error=InputError):
    def say(prompt):
        if int(prompt.split()[2]) in numbers:
            raise error("expected less, found more")
        return right(prompt)

    return say


def test_examples_without_an_answer_are_asked_again_and_no_others(go, scripted, lines_of):
    first = go(scripted(failing(1, 3)), 5)
    before = lines_of(first.place.samples)
    upstream = scripted(right)
    report = go(upstream, 5, retry_errors=True)
    assert [prompt.split()[2] for prompt in upstream.asked] == ["1", "3"]
    samples = lines_of(report.place.samples)
    assert [sample["index"] for sample in samples] == list(range(5))
    assert [samples[n] for n in (0, 2, 4)] == [before[n] for n in (0, 2, 4)]
    assert (report.summary.correct, report.retried) == (5, 2)
    assert json.loads(report.place.results.read_text())["summary"]["correct"] == 5
    log = report.place.log.read_text().splitlines()
    assert [line[:4] for line in log[1:-1]] == [f"{n:04d}" for n in range(5)]
    assert go(scripted(right), 5, retry_errors=True).retried == 0


def test_without_it_nothing_is_asked_again(go, scripted):
    go(scripted(failing(1)), 3)
    upstream = scripted(right)
    assert go(upstream, 3).summary.errors == 1
    assert upstream.asked == []


def test_a_broken_off_run_is_retried_and_goes_on(go, scripted):
    def stopping(prompt):
        if "has 3 pears" in prompt:
            raise KeyboardInterrupt
        return failing(1, error=UpstreamTimeoutError)(prompt)

    with pytest.raises(KeyboardInterrupt):
        go(scripted(stopping), 5)
    upstream = scripted(failing(4))
    report = go(upstream, 5, retry_errors=True)
    assert [prompt.split()[2] for prompt in upstream.asked] == ["1", "3", "4"]
    assert (report.summary.correct, report.summary.errors) == (4, 1)


def test_what_is_broken_off_keeps_what_was_done_again(go, scripted):
    place = go(scripted(failing(0, 1, 2)), 4).place

    def stopping(prompt):
        if "has 1 pears" in prompt:
            raise KeyboardInterrupt
        return right(prompt)

    with pytest.raises(KeyboardInterrupt):
        go(scripted(stopping), 4, retry_errors=True)
    assert [sample["status"] for sample in read_samples(place.samples)] == ["ok", "error", "error", "ok"]
    assert not place.results.exists()
    assert go(scripted(right), 4).summary.errors == 2
    assert go(scripted(right), 4, retry_errors=True).summary.correct == 4


def test_a_reading_that_failed_is_read_again_and_its_answer_is_kept(go, scripted, reader, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(reader_module, "cite", lambda *_args, **_options: 1 / 0)
        first = go(scripted(right), 3, reader=reader)
    assert first.summary.attention == {"failed": 3}
    upstream = scripted(lambda prompt: "another answer")
    report = go(upstream, 3, reader=reader, retry_errors=True)
    assert upstream.asked == []
    assert report.summary.attention == {"ok": 3}
    assert [sample["response"] for sample in read_samples(report.place.samples)] == [f"Answer: {n}" for n in range(3)]
    index = json.loads((report.place.attention / "example_0001" / "analysis_summary.json").read_text())
    assert index["status"] == "ok"


def test_another_job_is_refused_before_anything_is_asked(go, scripted):
    place = go(scripted(failing(1)), 3).place
    before = place.samples.read_bytes()
    upstream = scripted(right)
    with pytest.raises(JobError, match=r"what differs: answers\.seed"):
        go(upstream, 3, asking=Asking(seed=4), retry_errors=True)
    assert upstream.asked == []
    assert place.samples.read_bytes() == before


def test_fail_on_error_ends_it_at_the_first_that_fails_again(go, scripted):
    go(scripted(failing(0, 1)), 3)
    with pytest.raises(JobError, match=r"example 1 \(1\) got no answer"):
        go(scripted(failing(1)), 3, retry_errors=True, fail_on_error=True)


@pytest.mark.parametrize("wrong", [{"force": True}, {"resume": False}])
def test_there_must_be_a_run_to_go_on_with(go, scripted, wrong):
    with pytest.raises(InputError, match="expected retry_errors with a run to go on with"):
        go(scripted(right), 3, retry_errors=True, **wrong)
