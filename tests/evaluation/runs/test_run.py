import json
import time

import numpy as np
import pytest

from heed.errors import InputError, JobError, UpstreamDeniedError, UpstreamTimeoutError, UpstreamUnreachableError
from heed.evaluation.runs import Asking, Reader, load_task, read_run, start
from heed.evaluation.runs import rows as rows_module
from heed.evaluation.runs.samples import read_samples
from heed.probe import PromptCache
from heed.upstream import Answer, LocalUpstream

PEARS = "Answer: "


def right(prompt):
    return PEARS + prompt.split()[2]


def test_every_example_is_asked_in_order_and_graded(go, scripted, lines_of):
    upstream = scripted(lambda prompt: {"3": "no idea", "5": "Answer: 99"}.get(prompt.split()[2], right(prompt)))
    report = go(upstream, 8)
    samples = lines_of(report.place.samples)
    assert [sample["index"] for sample in samples] == list(range(8))
    grades = ["correct", "correct", "correct", "unparsed", "correct", "wrong", "correct", "correct"]
    assert [sample["grade"] for sample in samples] == grades
    assert upstream.asked == [sample["prompt"] for sample in samples]
    assert upstream.asked[2].startswith("Ann has 2 pears. Bob has two. It rains.\n\nHow many pears has Ann?\n\nSay in")
    assert (report.summary.correct, report.summary.wrong, report.summary.unparsed) == (6, 1, 1)
    assert report.summary.accuracy == 0.75
    assert report.summary.accuracy_parsed == 6 / 7
    assert 0.4 < report.summary.interval.low < 0.75 < report.summary.interval.high < 0.95


def test_the_tree_has_the_names_it_should(go, scripted, tmp_path):
    go(scripted(right, name="lab/model one"), lo=3, hi=5)
    folder = tmp_path / "out" / "lab_model_one" / "sums"
    names = ["sums_3-5.json", "sums_3-5.log", "sums_3-5.samples.jsonl", "sums_3-5.samples.jsonl.manifest.json"]
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == names
    results = json.loads((folder / "sums_3-5.json").read_text())
    assert results["summary"]["correct"] == 2
    assert [one["index"] for one in results["results"]] == [3, 4]
    log = (folder / "sums_3-5.log").read_text().splitlines()
    assert len(log) == 4
    assert log[1].startswith("0003 3: correct, found '3', expected '3'")


def test_numbers_are_true_indices_whatever_is_chosen(go, scripted, reader):
    report = go(scripted(right), ids=["10", "2"], reader=reader)
    assert sorted(path.name for path in report.place.attention.iterdir()) == ["example_0002", "example_0010"]
    assert report.place.part == "ids-2-10"


def test_a_finished_run_asks_nothing_again(go, scripted):
    first = go(scripted(right))
    before = first.place.samples.read_bytes()
    again = scripted(right)
    report = go(again)
    assert report.already_finished
    assert report.resumed == 12
    assert again.asked == []
    assert first.place.samples.read_bytes() == before
    assert report.summary == first.summary


def test_a_broken_off_run_goes_on_where_it_stopped(go, scripted):
    def tired(prompt):
        if "has 7 pears" in prompt:
            raise KeyboardInterrupt
        return right(prompt)

    with pytest.raises(KeyboardInterrupt):
        go(scripted(tired))
    upstream = scripted(right)
    report = go(upstream)
    assert report.resumed == 7
    assert len(upstream.asked) == 5
    assert [sample["index"] for sample in read_samples(report.place.samples)] == list(range(12))
    log = report.place.log.read_text().splitlines()
    assert [line[:4] for line in log[1:-1]] == [f"{n:04d}" for n in range(12)]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"asking": Asking(temperature=0.5)}, "answers"),
        ({"asking": Asking(seed=1)}, "answers"),
        ({"asking": Asking(max_new_tokens=7)}, "answers"),
        ({"asking": Asking(template="brief")}, "template"),
        ({"asking": Asking(details={"fingerprint": "other"})}, "answers"),
    ],
)
def test_a_changed_configuration_is_refused_not_mixed(go, scripted, change, named):
    go(scripted(right), lo=0, hi=4)
    with pytest.raises(JobError, match=f"another one; what differs: {named}"):
        go(scripted(right), lo=0, hi=4, **change)
    with pytest.raises(JobError, match=rf"found others \({named}\): ranges of one run must be alike"):
        go(scripted(right), lo=4, hi=6, **change)
    forced = go(scripted(right), lo=0, hi=4, force=True, **change)
    assert forced.backup.name == "sums_0-4.samples.jsonl.bak"


def test_a_changed_task_is_refused(go, scripted, write_task):
    go(scripted(right), write_task(4))
    with pytest.raises(JobError, match=r"what differs: task_sha256 \(was .*, the source"):
        go(scripted(right), write_task(_changed()))


def test_a_second_range_of_a_changed_task_is_refused(go, scripted, write_task):
    go(scripted(right), write_task(4), lo=0, hi=2)
    upstream = scripted(right)
    with pytest.raises(JobError, match=r"found others \(task_sha256\): ranges of one run must be alike"):
        go(upstream, write_task(_changed()), lo=1, hi=4)
    assert upstream.asked == []
    changed_grading = [{**row, "tolerance": 0.5} for row in json.loads(write_task(4).read_text())["examples"]]
    with pytest.raises(JobError, match="task_sha256"):
        go(upstream, write_task(changed_grading), lo=2, hi=4)


def test_force_sets_the_old_folders_aside_with_their_samples(go, scripted, reader):
    old = go(scripted(right), 4, lo=0, hi=3, reader=reader)
    other = go(scripted(right), 4, lo=3, hi=4, reader=reader)
    was = (old.place.attention / "example_0001" / "top_facts_summary.json").read_bytes()

    def stopping(prompt):
        if "has 1 pears" in prompt:
            raise KeyboardInterrupt
        return "Answer: 99"

    with pytest.raises(KeyboardInterrupt):
        go(scripted(stopping), 4, lo=0, hi=3, reader=reader, force=True)
    folders = sorted(path.name for path in old.place.attention.iterdir())
    assert folders == ["example_0000", "example_0003"]  # of the new run, and of the other range
    assert not old.place.results.exists()
    aside = old.place.folder / "sums_0-3.samples.jsonl.bak.top_k"
    assert sorted(path.name for path in aside.iterdir()) == ["example_0000", "example_0001", "example_0002"]
    assert (aside / "example_0001" / "top_facts_summary.json").read_bytes() == was
    assert json.loads((old.place.folder / "sums_0-3.samples.jsonl.bak.json").read_text())["summary"]["correct"] == 3
    assert other.place.results.exists()
    again = go(scripted(right), 4, lo=0, hi=3, reader=reader, force=True)
    assert again.backup.name == "sums_0-3.samples.jsonl.bak2"
    assert [path.name for path in (old.place.folder / f"{again.backup.name}.top_k").iterdir()] == ["example_0000"]


def _changed():
    return [{"input": f"Ann has {n} pears.\n\nHow many?", "target": str(n)} for n in range(4)]


def test_ranges_of_one_run_are_read_together_each_example_once(go, scripted):
    go(scripted(right), lo=0, hi=6)
    report = go(scripted(right), lo=4, hi=12)
    run = read_run(report.place.folder)
    assert [sample["index"] for sample in run.samples] == list(range(12))
    assert run.summary.examples == 12
    assert run.finished
    assert read_run(report.place.folder.parent.parent).folder == run.folder


def test_a_failing_example_is_noted_and_the_run_goes_on(go, scripted):
    def failing(prompt):
        if "has 1 pears" in prompt:
            raise ValueError("a\nbug")
        if "has 2 pears" in prompt:
            raise InputError("expected less, found more")
        return right(prompt)

    report = go(scripted(failing), 4)
    samples = read_samples(report.place.samples)
    assert [sample["status"] for sample in samples] == ["ok", "error", "error", "ok"]
    assert samples[1]["error"] == r"example 1 (1) got no answer: ValueError: a\nbug"
    assert samples[2]["error"].endswith("expected less, found more")
    assert (report.summary.correct, report.summary.errors) == (2, 2)
    assert report.summary.accuracy == 0.5


def test_fail_on_error_ends_the_run_and_keeps_what_was_answered(go, scripted):
    def failing(prompt):
        if "has 2 pears" in prompt:
            raise InputError("expected less, found more")
        return right(prompt)

    with pytest.raises(JobError, match=r"stopped at line 3 .*: example 2 \(2\) got no answer: expected less"):
        go(scripted(failing), 4, fail_on_error=True)
    assert go(scripted(right), 4, fail_on_error=True).resumed == 2


def test_a_server_out_of_reach_ends_the_run_before_its_example(go, scripted):
    def gone(prompt):
        if "has 2 pears" in prompt:
            raise UpstreamUnreachableError("expected a server, found none")
        return right(prompt)

    with pytest.raises(UpstreamUnreachableError):
        go(scripted(gone), 4)
    report = go(scripted(right), 4)
    assert report.resumed == 2
    assert report.summary.correct == 4


def test_a_refusal_of_everything_ends_the_run_before_its_example(go, scripted):
    def closed(prompt):
        if "has 2 pears" in prompt:
            raise UpstreamDeniedError("expected an answer, found status 401")
        return right(prompt)

    with pytest.raises(UpstreamDeniedError):
        go(scripted(closed), 4)
    assert go(scripted(right), 4).summary.correct == 4


def test_an_answer_that_came_too_late_is_counted_apart(go, scripted):
    def late(prompt):
        if "has 1 pears" in prompt:
            time.sleep(0.002)
            raise UpstreamTimeoutError("expected an answer in time, found none")
        return right(prompt)

    report = go(scripted(late), 3)
    assert (report.summary.timeouts, report.summary.errors, report.summary.correct) == (1, 0, 2)
    sample = read_samples(report.place.samples)[1]
    assert (sample["status"], sample["response"], sample["grade"]) == ("timeout", None, None)
    assert sample["error"].endswith("expected an answer in time, found none")
    assert sample["seconds"]["answer"] > 0
    assert "0001 1: timeout, example 1 (1) got no answer" in report.place.log.read_text()
    with pytest.raises(JobError, match=r"example 1 \(1\) got no answer"):
        go(scripted(late, name="strict"), 3, fail_on_error=True)


@pytest.mark.parametrize(
    "wrong", [{"temperature": float("nan")}, {"temperature": float("inf")}, {"temperature": -1}, {"max_new_tokens": 0}]
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(InputError, match=f"expected (a )?{next(iter(wrong))}"):
        Asking(**wrong)


def test_an_answer_cut_by_time_is_counted_apart(go, scripted):
    report = go(scripted(lambda prompt: Answer(right(prompt), "m", 1.0, None, "timeout")), 2)
    assert (report.summary.timeouts, report.summary.correct, report.summary.unparsed) == (2, 0, 0)
    assert read_samples(report.place.samples)[0]["response"] == "Answer: 0"


def test_each_example_has_a_seed_of_its_own(go, scripted):
    upstream = scripted(right)
    go(upstream, asking=Asking(temperature=0.7, seed=100), lo=5, hi=7)
    assert upstream.seeds == [105, 106]
    greedy = scripted(right, name="greedy")
    go(greedy, lo=5, hi=7)
    assert greedy.seeds == [None, None]


def test_the_attention_of_an_answer_lies_beside_it(go, scripted, reader):
    report = go(scripted(right), 2, reader=reader)
    sample = read_samples(report.place.samples)[1]
    attention = sample["attention"]
    assert attention["status"] == "ok"
    assert sorted(attention["ranking"]) == [0, 1, 2]
    context = sample["context"]
    assert [context[start:end] for start, end in attention["units"]] == [
        "Ann has 1 pears.",
        "Bob has two.",
        "It rains.",
    ]
    assert [context[fact["start"] : fact["end"]] for fact in attention["facts"]] == [
        fact["text"] for fact in attention["facts"]
    ]
    folder = report.place.folder / attention["folder"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "analysis_summary.json",
        "attrieval_analysis_report.md",
        "attrieval_attention_data.npz",
        "attrieval_results.json",
        "essential_attention_data.npz",
        "top_facts_summary.json",
    ]
    assert attention["bytes"] == sum(path.stat().st_size for path in folder.iterdir() if "analysis_s" not in path.name)
    index = json.loads((folder / "analysis_summary.json").read_text())
    assert (index["schema"], index["example_idx"], index["status"]) == (1, 1, "ok")
    assert index["read_by"]["fingerprint"] == reader.model.fingerprint
    assert report.summary.attention == {"ok": 2}
    assert report.summary.attention_seconds > 0


def test_arrays_are_float16_and_need_no_pickle(go, scripted, reader):
    report = go(scripted(right), 2, reader=reader)
    folder = report.place.attention / "example_0001"
    sample = read_samples(report.place.samples)[1]
    with np.load(folder / "essential_attention_data.npz", allow_pickle=False) as data:
        rows, columns = len(data["response_offsets"]), len(data["context_offsets"])
        assert data["attention"].dtype == np.float16
        assert data["attention"].shape == (2, 2, rows, columns)
        assert list(data["layers"]) == [0, 1]
        assert 0 < data["attention"].sum(-1).max() <= 1.001
        pieces = [sample["context"][start:end] for start, end in data["context_offsets"]]
        assert "".join(pieces) == sample["context"]
        answered = [sample["response"][start:end] for start, end in data["response_offsets"]]
        assert "".join(answered) == sample["response"]
    with np.load(folder / "attrieval_attention_data.npz", allow_pickle=False) as data:
        assert data["aggregated_attention"].shape == (rows, columns)
        assert data["aggregated_attention"].dtype == np.float16
        assert len(data["fact_scores"]) == 3


def test_a_small_budget_keeps_the_heaviest_weights_and_says_so(go, scripted, reader, tmp_path):
    whole = go(scripted(right), 1, reader=reader)
    place = tmp_path / "small"
    task = load_task(tmp_path / "sums.json")
    small = start(task, scripted(right), place, reader=Reader(reader.model, "all_layers", budget=600))
    index = json.loads((small.place.attention / "example_0000" / "analysis_summary.json").read_text())
    assert index["attention"]["essential"]["sparse"]
    name = "essential_attention_data.npz"
    with (
        np.load(whole.place.attention / "example_0000" / name) as dense,
        np.load(small.place.attention / "example_0000" / name) as sparse,
    ):
        values, places = sparse["attention"], sparse["attention_places"]
        assert values.nbytes + places.nbytes <= 600
        assert np.array_equal(np.take_along_axis(dense["attention"], places, -1), values)
        assert np.array_equal(values[..., 0], dense["attention"].max(-1))


def test_text_of_the_template_before_the_context_is_no_fact(go, scripted, reader, write_task):
    row = {"context": "Ann has 5 pears. Bob has two.", "question": "How many has Ann?", "target": "5"}
    path = write_task([row], template="Read this note. Be exact.\n\n{context}\n\n{question}")
    report = go(scripted(lambda prompt: "Answer: 5"), path, reader=reader)
    sample = read_samples(report.place.samples)[0]
    assert sample["prompt"] == "Read this note. Be exact.\n\nAnn has 5 pears. Bob has two.\n\nHow many has Ann?"
    assert sorted(sample["attention"]["ranking"]) == [0, 1]
    assert {fact["text"] for fact in sample["attention"]["facts"]} == {"Ann has 5 pears.", "Bob has two."}
    with np.load(report.place.attention / "example_0000" / "essential_attention_data.npz") as data:
        pieces = [sample["context"][start:end] for start, end in data["context_offsets"]]
        assert "".join(pieces) == sample["context"]


def test_gold_facts_give_recall(go, scripted, reader, write_task):
    row = {"units": ["Ann has 5 pears.", "Bob has two."], "question": "How many?", "target": "5", "gold": [0, 1]}
    summary = go(scripted(lambda prompt: "Answer: 5"), write_task([row]), reader=reader).summary
    assert summary.recall == {"@1": 0.5, "@3": 1.0, "@5": 1.0}
    assert summary.recall_by_grade == {"correct": summary.recall}


@pytest.mark.parametrize(
    ("text", "said", "status"),
    [
        ("What is 2 + 2?", "4", "no_context"),
        ("A note.\n\nWhy?", " \n", "no_answer"),
        ("A note.\n\nWhy?", "long " * 600, "failed"),
    ],
)
def test_an_answer_survives_its_analysis(go, scripted, write_task, reader, *, text, said, status):
    report = go(scripted(lambda prompt: said), write_task([{"input": text, "target": "x"}]), reader=reader)
    sample = read_samples(report.place.samples)[0]
    assert sample["response"] == said
    assert sample["attention"]["status"] == status
    index = json.loads((report.place.attention / "example_0000" / "analysis_summary.json").read_text())
    assert index["status"] == status
    assert index["reason"]


def test_a_bug_in_the_analysis_costs_no_answer(go, scripted, reader, monkeypatch):
    def broken(*_args, **_settings):
        raise RuntimeError("a bug")

    monkeypatch.setattr("heed.evaluation.runs.reader.cite", broken)
    report = go(scripted(right), 2, reader=reader)
    assert report.summary.correct == 2
    assert report.summary.attention == {"failed": 2}
    assert read_samples(report.place.samples)[0]["attention"]["reason"] == "RuntimeError: a bug"


def test_a_local_model_answers_the_same_again(go, tiny_model, tmp_path, lines_of):
    asking = Asking(max_new_tokens=5, temperature=1.0, seed=3)
    whole = go(LocalUpstream(tiny_model), 4, asking=asking)
    said = [sample["response"] for sample in lines_of(whole.place.samples)]
    task = load_task(tmp_path / "sums.json")
    part = start(task, LocalUpstream(tiny_model), tmp_path / "other", asking=asking, lo=2, hi=4)
    assert [sample["response"] for sample in lines_of(part.place.samples)] == said[2:]
    assert len({*said}) > 1


def test_what_is_read_is_what_was_generated_from(tiny_model, write_task):
    """The citation's prompt begins with the very tokens that the answer was generated from."""
    from heed.citation import Question
    from heed.citation.prompt import encode_question
    from heed.evaluation.runs.example import fill
    from heed.probe import encode_prompt

    task = load_task(write_task(1))
    prompt = fill(task.template()[1], task.examples[0])
    asked = encode_prompt(tiny_model, [{"role": "user", "content": prompt.text}])
    read = encode_question(Question.of(prompt.after, prompt.context, "Two."), tiny_model.tokenizer)
    assert np.array_equal(read.ids[: len(asked)], asked.ids)


def test_a_reader_goes_on_from_what_the_answer_left(tiny_model, go, tmp_path, monkeypatch):
    """Only the answer's own tokens are computed, and the numbers are the same to rounding."""
    left, read = [], rows_module.read

    def counted(*args, **options):
        found = read(*args, **options)
        left.append(len(args[1][0]) - found.reused_tokens)
        return found

    monkeypatch.setattr(rows_module, "read", counted)
    asking, prefix = Asking(max_new_tokens=5), PromptCache()
    alone = go(LocalUpstream(tiny_model), 3, asking=asking, reader=Reader(tiny_model, "all_layers"))
    assert min(left) > 40
    left.clear()
    reader, upstream = Reader(tiny_model, "all_layers", prefix=prefix), LocalUpstream(tiny_model, prefix=prefix)
    after = start(load_task(tmp_path / "sums.json"), upstream, tmp_path / "b", asking=asking, reader=reader)
    assert len(left) == 3
    assert max(left) < 20  # the answer, and what the template sets behind it
    assert upstream.prefix.prompt.size > 40
    one, two = (report.place.attention / "example_0001" / "essential_attention_data.npz" for report in (alone, after))
    with np.load(one) as before, np.load(two) as now:
        assert before.files == now.files
        for name in before.files:
            if before[name].dtype.kind == "f":
                np.testing.assert_allclose(now[name], before[name], atol=2e-3)
            else:
                np.testing.assert_array_equal(now[name], before[name])
    facts = [read_samples(report.place.samples)[1]["attention"]["ranking"] for report in (alone, after)]
    assert facts[0] == facts[1]
