"""The self-test passes here, and fails where a path is wrong."""

import json

import pytest
import torch

from heed import attention
from heed.attention import METRICS, selftest
from heed.attention.distance import functional
from heed.errors import InputError

CHECKS = ["forward", "gradient", "masks", "dropout", "threads", "bfloat16"]


def test_every_metric_passes_here_and_says_its_path():
    state = torch.get_rng_state()
    report = selftest()
    assert (report.success_rate, report.failures) == (1.0, ())
    assert list(report.paths) == list(METRICS)
    assert [check.name for check in report.checks if check.metric == "l1"] == CHECKS
    assert report.paths["smooth_chebyshev"].path == "reference"
    assert all(check.error <= check.allowed for check in report.checks)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert selftest(["l1"]).success_rate == 1.0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["tiled", "reference"])
def test_a_path_can_be_chosen(backend):
    report = selftest(["lp"], backend=backend)
    assert {check.path for check in report.checks} == {backend}
    assert report.success_rate == 1.0


def test_a_path_that_cannot_run_is_a_failure_with_its_reason():
    report = selftest(["l1"], backend="sdpa")
    assert report.success_rate < 1
    assert "only dot, cosine, sqeuclidean reduce" in report.failures[0].note
    assert "FAILED" in str(report)


def test_a_wrong_path_is_found(monkeypatch):
    right = functional.fused.attend

    def slightly_off(*arguments: object) -> object:
        forward = right(*arguments)
        return forward._replace(out=forward.out * 1.0001)

    monkeypatch.setattr(functional.fused, "attend", slightly_off)
    report = selftest(["l1"], backend="tiled")
    assert {check.name for check in report.failures} == {"forward", "gradient", "masks", "dropout"}
    assert "l1, forward: error 1.0e-04, allowed" in str(report)


def test_the_report_is_readable_by_people_and_machines():
    report = attention.selftest(["l2"])
    lines = str(report).splitlines()
    assert lines[0].split()[:2] == ["metric", "path"]
    assert lines[1].split()[0] == "l2"
    assert "6 of 6 checks passed (100.0%)" in str(report)
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert record["paths"]["l2"]["path"] == report.paths["l2"].path
    assert len(record["checks"]) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": []}, "metrics: expected at least one of dot, l1"),
        ({"backend": "foo"}, "backend: expected auto, reference, .* found 'foo'"),
        ({"device": "nowhere"}, "device: expected one that torch can use here, found 'nowhere'"),
        pytest.param(
            {"device": "cuda"},
            "device: expected one that torch can use here, found 'cuda'",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA"),
        ),
    ],
)
def test_what_cannot_be_checked_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        selftest(**{"metrics": "l1", **arguments})


def test_an_unknown_metric_is_refused_with_its_neighbours():
    with pytest.raises(InputError, match="'chebyshev'"):
        selftest(["chebychev"])
