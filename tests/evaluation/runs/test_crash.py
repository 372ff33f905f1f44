import json
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from heed.errors import JobError
from heed.evaluation.runs import read_run, write_page

KILLS, EXAMPLES = 20, 63


@pytest.fixture
def sums(write_task):
    return write_task(
        [
            {"input": f"Ann has {n} pears. Bob has two. It rains.\n\nHow many pears has Ann?", "target": str(n)}
            for n in range(EXAMPLES)
        ]
    )


def test_kill_9_at_20_moments_loses_at_most_the_sample_in_flight(sums, tiny_model, tmp_path):
    helper = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(helper), str(tmp_path), str(sums), tiny_model.name, str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    whole = [0, *(moment["whole"] for moment in told["seen"])]
    assert sum(moment["killed"] for moment in told["seen"]) == KILLS
    for before, moment in zip(whole, told["seen"], strict=False):
        assert 0 <= moment["asked"] - (moment["whole"] - before) <= 1  # asked, but not on disk: the one in flight
    assert 0 < whole[-1] < EXAMPLES
    asked = Counter(map(int, told["asked"]))
    assert {*asked} == {*range(EXAMPLES)}
    assert sum(asked.values()) <= EXAMPLES + KILLS
    run = read_run(tmp_path / "out" / "logging" / "sums")
    assert [sample["index"] for sample in run.samples] == list(range(EXAMPLES))
    assert run.finished
    assert run.summary.correct == EXAMPLES
    assert run.summary.attention == {"ok": EXAMPLES}
    check_artefacts(run)
    log = (run.folder / f"sums_0-{EXAMPLES}.log").read_text().splitlines()
    assert [line[:4] for line in log[1:-1]] == [f"{n:04d}" for n in range(EXAMPLES)]


def check_artefacts(run):
    folders = sorted(path.name for path in (run.folder / "top_k").iterdir())
    assert folders == [f"example_{n:04d}" for n in range(len(run.samples))]
    for sample in run.samples:
        folder = run.folder / sample["attention"]["folder"]
        index = json.loads((folder / "analysis_summary.json").read_bytes())
        assert index["example_idx"] == sample["index"]
        for name, file in index["files"].items():
            assert (folder / name).stat().st_size == file["bytes"]
            if name.endswith(".npz"):
                with np.load(folder / name, allow_pickle=False) as arrays:
                    assert all(np.isfinite(arrays[key]).all() for key in arrays)
            elif name.endswith(".json"):
                json.loads((folder / name).read_bytes())


def test_a_full_disk_ends_the_run_and_a_rerun_completes_it(go, scripted, reader):
    """The size limit of the process stands in for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    upstream = scripted(lambda prompt: f"Answer: {prompt.split()[2]}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
    try:
        with pytest.raises(JobError, match=r"expected to write .*, found: File too large; make room"):
            go(upstream, reader=reader)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    report = go(upstream, reader=reader)
    assert 0 < report.resumed < 12
    assert report.summary.correct == 12
    check_artefacts(read_run(report.place.folder))


def test_a_place_that_cannot_be_written_is_a_job_error_before_anything_is_asked(go, scripted, tmp_path):
    (tmp_path / "out").write_text("in the way")
    upstream = scripted(lambda prompt: "Answer: 1")
    with pytest.raises(JobError, match=r"expected to write .*, found: (Not a directory|File exists)"):
        go(upstream)
    assert upstream.asked == []


def test_a_torn_last_line_is_left_out_until_the_run_goes_on(go, scripted):
    report = go(scripted(lambda prompt: "Answer: 1"), 4)
    content = report.place.samples.read_bytes()
    report.place.samples.write_bytes(content[:-20])
    assert len(read_run(report.place.folder).samples) == 3
    write_page(read_run(report.place.folder))
    assert go(scripted(lambda prompt: "Answer: 1"), 4).resumed == 3
    assert len(report.place.samples.read_bytes().splitlines()) == 4


def test_a_damaged_samples_file_is_told(go, scripted):
    report = go(scripted(lambda prompt: "Answer: 1"), 4)
    report.place.samples.write_text('{"index": 0}\n')
    with pytest.raises(
        JobError, match=r"expected a sample of schema 1 on line 1 of .*samples.jsonl, found schema None"
    ):
        read_run(report.place.folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"attention": ...}, "no attention"),
        ({"index": "0"}, "str as index"),
        ({"index": True}, "bool as index"),
        ({"seconds": {"answer": 1.0}}, "no attention among seconds"),
        ({"attention": {"status": "ok"}}, "no reason among attention"),
        ({"response": 3}, "int as response"),
        ({"schema": 2}, "schema 2"),
    ],
)
def test_a_sample_that_lacks_what_is_used_is_told_with_its_line(go, scripted, damage, said):
    report = go(scripted(lambda prompt: "Answer: 1"), 3)
    lines = report.place.samples.read_text().splitlines()
    record = {**json.loads(lines[1]), **damage}
    lines[1] = json.dumps({name: value for name, value in record.items() if value is not ...})
    report.place.samples.write_text("\n".join(lines) + "\n")
    for reading in (lambda: read_run(report.place.folder), lambda: go(scripted(lambda prompt: "1"), 3)):
        with pytest.raises(JobError, match=rf"on line 2 of .*sums_0-3.samples.jsonl, found {said}"):
            reading()
