import json

import pytest

ROWS = [
    {"input": f"Ann has {n} pears. Bob has two. It rains.\n\nHow many pears has Ann?", "target": str(n)}
    for n in range(3)
]


@pytest.fixture
def sums(tmp_path):
    path = tmp_path / "sums.json"
    path.write_text(json.dumps({"examples": ROWS}))
    return path


@pytest.fixture
def start(heed, tiny):
    """Run the tiny model, whose answers mean nothing, for a few tokens."""

    def run(task, *words):
        return heed("run", "start", task, "--model", tiny, "--dtype", "float32", "--max-new-tokens", 4, *words)

    return run


def test_a_run_is_made_and_continued(start, sums, tmp_path):
    done = start(sums, "--json")
    assert done.code == 0, done.err
    assert done.json["examples"] == 3
    assert done.json["correct"] + done.json["wrong"] + done.json["unparsed"] == 3
    assert done.json["folder"] == "runs/tiny/sums"
    assert (tmp_path / "runs" / "tiny" / "sums" / "sums_0-3.json").exists()
    assert start(sums, "--json").json["resumed"] == 3
    refused = start(sums, "--seed", 9)
    assert refused.code == 3
    assert "what differs: answers.seed (was 0, is 9)" in refused.err
    forced = start(sums, "--seed", 9, "--force")
    assert forced.code == 0
    assert "kept as runs/tiny/sums/sums_0-3.samples.jsonl.bak" in forced.err


def test_attention_is_kept_under_its_old_name_too(start, sums, tmp_path):
    done = start(sums, "--lo", 1, "--hi", 2, "--enable_attention_analysis", "--method", "all_layers", "--json")
    assert done.code == 0, done.err
    assert done.json["attention"] == {"ok": 1}
    assert (tmp_path / "runs/tiny/sums/top_k/example_0001/essential_attention_data.npz").exists()


def test_report_list_and_compare_read_what_was_written(heed, start, sums, tmp_path):
    start(sums, "--attention", "--method", "all_layers")
    start(sums, "--template", "brief", "--out", "other")
    report = heed("run", "report", "runs/tiny/sums")
    assert report.code == 0, report.err
    page = (tmp_path / "runs/tiny/sums/report.html").read_text("utf-8")
    assert page.count("<article") == 3
    listed = heed("run", "list", "--json")
    assert [task["name"] for task in listed.json["tasks"]] == ["notes"]
    assert [run["folder"] for run in listed.json["runs"]] == ["runs/tiny/sums"]
    assert "notes" in heed("run", "list").out
    compared = heed("run", "compare", "runs/tiny/sums", "other/tiny/sums", "--json")
    assert compared.code == 0, compared.err
    assert compared.json["examples"] == 3
    assert "difference in accuracy" in heed("run", "compare", "runs", "other").out


def test_a_damaged_run_does_not_hide_the_others(heed, start, sums, tmp_path):
    start(sums)
    start(sums, "--out", "runs/deeper")
    (tmp_path / "runs/tiny/sums/sums_0-3.samples.jsonl.manifest.json").write_text("{")
    listed = heed("run", "list", "--json")
    assert listed.code == 0, listed.err
    whole, damaged = listed.json["runs"]
    assert (whole["folder"], whole["finished"], whole["error"]) == ("runs/deeper/tiny/sums", True, None)
    assert damaged["folder"] == "runs/tiny/sums"
    assert "expected a job's manifest in" in damaged["error"]
    shown = heed("run", "list").out
    assert "expected a job's manifest in" in shown
    assert "runs/deeper/tiny/sums" in shown


def test_force_says_where_the_old_attention_lies(start, sums, tmp_path):
    start(sums, "--attention", "--method", "all_layers")
    forced = start(sums, "--force")
    assert forced.code == 0
    assert "their attention in runs/tiny/sums/sums_0-3.samples.jsonl.bak.top_k" in forced.err
    assert not [*(tmp_path / "runs/tiny/sums/top_k").iterdir()]


def test_a_task_is_validated_without_a_model(heed, sums):
    done = heed("run", "validate", sums, "--template", "brief", "--json")
    assert done.code == 0, done.err
    assert done.json["answers"] == {"numeric": 3}
    assert done.json["with_context"] == 3
    assert done.json["first_prompt"].endswith("nothing else.")
    assert "3 numeric" in heed("run", "validate", sums).out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["ntes"], 2, "nearest are notes"),
        (["sums.json", "--lo", "3"], 2, "expected a range within the 3 examples of sums"),
        (["sums.json", "--ids", "7"], 2, "expected an id of an example in sums, found '7'"),
        (["sums.json", "--field", "target"], 2, "expected NAME=THEIRS, found 'target'"),
        (["sums.json", "--field", "target=goal"], 2, "expected text or a number as goal in example 0 of sums.json"),
        (["sums.json", "--template", "loud"], 2, "expected a template among explain, brief, plain"),
        (["sums.json", "--base-url", "http://localhost:1"], 2, "expected --answer-model beside it"),
        (["sums.json", "--attention", "--method", "magic"], 2, "expected a method among"),
        (["sums.json", "--model", "no/such/model"], 3, "error: "),
        (["sums.json", "--out", "sums.json"], 3, "expected to write"),
        (["sums.json", "--temperature", "-1"], 2, "--temperature"),
        (["sums.json", "--temperature", "nan"], 2, "--temperature"),
        (["sums.json", "--temperature", "inf", "--model", "no/such/model"], 2, "expected a temperature of 0 or more"),
        (["sums.json", "--timeout", "inf"], 2, "timeout above 0"),
        (["sums.json", "--force", "--retry-errors"], 2, "--retry-errors: expected a run to go on with"),
        (["sums.json", "--no-resume", "--retry-errors"], 2, "--retry-errors: expected a run to go on with"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(start, sums, words, code, message):
    done = start(*words) if "--model" not in words else start(words[0], *words[1:])
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_model_that_does_not_load_is_reported(heed, sums, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    done = heed("run", "start", sums, "--model", broken)
    assert done.code == 3
    assert done.err.startswith("error: expected")


def test_an_example_that_does_not_fit_is_noted_and_the_exit_code_says_so(start, tmp_path):
    rows = [ROWS[0], {"input": "long " * 900 + "\n\nWhy?", "target": "x"}, ROWS[2]]
    (tmp_path / "long.json").write_text(json.dumps({"examples": rows}))
    done = start("long.json", "--json")
    assert done.code == 3
    assert done.json["errors"] == 1
    assert done.json["examples"] == 3
    stopped = start("long.json", "--fail-on-error", "--out", "other")
    assert stopped.code == 3
    assert "example 1 (1) got no answer: expected at most 512 tokens" in stopped.err


def test_a_run_that_is_none_is_refused(heed):
    done = heed("run", "report", "nowhere")
    assert done.code == 2
    assert "expected a run's folder" in done.err


def test_a_task_of_ones_own_is_found_by_name_and_a_damaged_one_does_not_hide_the_others(heed, tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "medcalc_rules.json").write_text(json.dumps([{"input": "A note.\n\nWhy?", "target": "rain"}]))
    (folder / "broken.json").write_text("{")
    listed = {one["name"]: one for one in heed("run", "list", "--json").json["tasks"]}
    assert listed["medcalc_rules"]["examples"] == 1
    assert "expected JSON in broken.json" in listed["broken"]["error"]
    assert "expected JSON in broken.json" in heed("run", "list").out
    assert heed("run", "validate", "medcalc_rules").code == 0
    missed = heed("run", "validate", "medcalc")
    assert missed.code == 2
    assert "nearest are medcalc_rules" in missed.err
    assert str(folder) in missed.err
