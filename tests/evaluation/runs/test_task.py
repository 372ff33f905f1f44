import contextlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from heed.errors import HeedError, InputError, RecordError
from heed.evaluation.runs.example import fill
from heed.evaluation.runs.graders import grader_of
from heed.evaluation.runs.task import load_task, pick, task_names
from heed.settings import settings

GOOD = {"input": "A note.\n\nWhy?", "target": "rain"}


def test_json_jsonl_and_csv_hold_the_same(tmp_path):
    rows = [{"input": "A note.\n\nWhy?", "target": "rain", "id": f"r{n}"} for n in range(3)]
    (tmp_path / "t.json").write_text(json.dumps({"examples": rows}))
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + "\n\n".join(map(json.dumps, rows)).encode())
    (tmp_path / "t.csv").write_text("id,input,target\n" + "".join(f'r{n},"A note.\n\nWhy?",rain\n' for n in range(3)))
    tasks = [load_task(tmp_path / name) for name in ("t.json", "list.json", "t.jsonl", "t.csv")]
    assert all(task.examples == tasks[0].examples for task in tasks)
    assert [one.id for one in tasks[0].examples] == ["r0", "r1", "r2"]
    assert tasks[0].examples[1].context == "A note."


def test_fields_are_mapped_by_the_caller_and_by_the_file(write_task):
    path = write_task([{"prompt": "A note.\n\nWhy?", "gold_answer": 7}], fields={"input": "prompt"})
    example = load_task(path, fields={"target": "gold_answer"}).examples[0]
    assert (example.context, example.question, example.target) == ("A note.", "Why?", "7")


def test_units_make_the_context_and_carry_gold(write_task):
    row = {"units": ["Rain fell.", "Sun shone."], "separator": " ", "question": "What?", "target": "rain", "gold": [0]}
    example = load_task(write_task([row])).examples[0]
    assert example.context == "Rain fell. Sun shone."
    assert [example.context[span.slice()] for span in example.units] == row["units"]
    assert example.gold == (0,)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("text", "expected an object as example 1 of sums.json, found str"),
        (
            {"target": "x"},
            r"text as input \(or as question\) in example 1 of sums.json, found the fields target",
        ),
        ({"input": 4, "target": "x"}, "expected text as input in example 1 of sums.json, found int"),
        ({"input": "Why?"}, "expected text or a number as target in example 1 of sums.json, found none"),
        ({"input": "Why?", "target": []}, "expected text or a number as target .*, found \\[\\]"),
        ({"input": "Why?", "target": True}, "expected text or a number as target .*, found True"),
        ({"input": "Why?", "target": "x", "grader": "eval"}, "expected a grader among .* in example 1 of sums.json"),
        ({"input": "Why?", "target": "x", "grader": "date"}, "expected a target of kind date in example 1"),
        ({"input": "Why?", "target": "x", "units": "Rain."}, "expected a list of texts as units in example 1"),
        ({"question": "Why?", "units": ["Rain."], "target": "x", "gold": [1]}, "expected indices of units .0 to 0."),
        (
            {"question": "W?", "context": "It rained.", "units": ["Sun."], "target": "x"},
            "expected unit 0 in the context",
        ),
        ({"input": "Why?", "target": "x", "id": "0"}, "expected an id of its own for each example of sums.json"),
        ({"input": "Why?", "target": float("nan")}, "expected text or a number as target in example 1 .*, found nan"),
        ({"input": "Why?", "target": [1, float("inf")]}, "expected text or a number as target in example 1"),
        ({"input": "Why?", "target": 1, "lower": 2, "upper": 0}, "expected lower <= upper in example 1 of sums.json"),
        ({"input": "Why?", "target": 1, "tolerance": -1}, "expected a tolerance of 0 or more in example 1"),
        ({"input": "Why?", "target": "x", "id": []}, "expected text or a number as id in example 1"),
    ],
)
def test_an_example_that_cannot_be_used_is_named(write_task, row, message):
    with pytest.raises(InputError, match=message):
        load_task(write_task([GOOD, row]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", b"{", "expected JSON in t.json, found on line 1, character 2"),
        ("t.json", b'{"rows": []}', 'expected {"examples": .* in t.json, found no list'),
        ("t.json", b'{"examples": []}', "expected at least one example in t.json"),
        ("t.json", b'{"examples": [], "shots": 3}', "found 'shots'"),
        ("t.json", b'{"examples": [], "fields": {"goal": "x"}}', "found 'goal'"),
        ("t.json", b'{"examples": [], "name": "../x"}', "as the name of t.json, found '../x'"),
        ("t.json", b"\xff", "expected UTF-8 in .*t.json"),
        ("t.jsonl", b'{"input": "Why?", "target": "x"}\n{"input"', "on line 2, found invalid JSON"),
        ("t.jsonl", b'\n\n{"input": "Why?"}', "expected text or a number as target in line 3 of t.jsonl, found none"),
        ("t.csv", b"input,target\nWhy?,x,y\n", "expected 2 columns on line 2 of t.csv"),
        ("t.csv", b"input,target\nWhy?\n", "expected 2 columns on line 2 of t.csv"),
        ("t.csv", b"input,target\n,x\n", "expected text as input .* in line 2 of t.csv"),
        ("t.csv", b'input,target\n"A\n\nWhy?",x\n\n"B\n\nWhy?",\n', "as target in line 6 of t.csv, found none"),
        ("t.csv", b'input,target\n"A\n\nWhy?"\n', "expected 2 columns on line 2 of t.csv, found 1"),
        ("t.csv", b"input,target,target\nWhy?,x,y\n", "expected each column once on line 1 of t.csv, found 'target'"),
        ("t.txt", b"x", "expected a task as .json, .jsonl or .csv, found t.txt"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=message):
        load_task(tmp_path / name)


def test_an_unknown_task_is_refused_with_the_nearest_names():
    with pytest.raises(InputError, match="expected a task file or the name of a task, found 'ntes': nearest are notes"):
        load_task("ntes")


@bounds(max_examples=60, deadline=None)
@given(content=st.binary(max_size=60), kind=st.sampled_from(["json", "jsonl", "csv"]))
def test_no_content_raises_anything_else(tmp_path_factory, content, kind):
    path = tmp_path_factory.mktemp("any") / f"t.{kind}"
    path.write_bytes(content)
    with contextlib.suppress(HeedError):
        assert load_task(path).examples


def test_templates_come_from_task_heed_and_files(write_task, tmp_path):
    task = load_task(write_task([GOOD], template="short", templates={"short": "{input}!"}))
    assert task.template() == ("short", "{input}!")
    assert task.template("brief")[1].endswith("nothing else.")
    file = tmp_path / "mine.txt"
    file.write_text("{input}?")
    assert task.template(str(file)) == ("mine", "{input}?")
    assert load_task(write_task([GOOD], template="{input} Go.")).template() == ("own", "{input} Go.")
    with pytest.raises(InputError, match="expected a template among short, explain, brief, plain, or a file"):
        task.template("long")
    with pytest.raises(RecordError, match=r"found \{who\}"):
        load_task(write_task([GOOD], templates={"bad": "{input}{who}"}))


def test_examples_are_picked_by_range_and_by_id(write_task):
    task = load_task(write_task(12))
    assert pick(task)[0] == "0-12"
    assert pick(task, lo=3, hi=5) == ("3-5", task.examples[3:5])
    assert pick(task, lo=10, hi=99)[0] == "10-12"
    assert pick(task, lo=4, limit=3)[0] == "4-7"
    assert pick(task, ids=["7", "2", "7"]) == ("ids-2-7", (task.examples[2], task.examples[7]))
    assert re.fullmatch(r"ids-12-[0-9a-f]{8}", pick(load_task(write_task(999)), ids=map(str, range(900, 912)))[0])
    with pytest.raises(InputError, match="expected a range within the 12 examples of sums, found 12 to 20"):
        pick(task, lo=12, hi=20)
    with pytest.raises(InputError, match="expected an id of an example in sums, found '12'"):
        pick(task, ids=["12"])
    with pytest.raises(InputError, match="found both"):
        pick(task, ids=["1"], lo=0)


def test_the_shipped_tasks_are_sound(monkeypatch, tmp_path):
    monkeypatch.setenv("HEED_TASKS_DIR", str(tmp_path))
    assert task_names() == ("notes",)
    task = load_task("notes")
    kinds = [grader_of(one.target, one.expects, where=one.id).kind for one in task.examples]
    assert len(task.examples) == 200
    assert {*kinds} == {"exact", "choice", "numeric", "date", "duration"}
    for one in task.examples:
        assert one.gold
        targets = one.target if isinstance(one.target, tuple) else (one.target,)
        grade = grader_of(one.target, one.expects, where=one.id)
        assert all(grade(f"So it is.\nAnswer: {target}").correct for target in targets), one.id
        assert fill(task.template()[1], one).context == one.context


@pytest.mark.data
def test_a_file_of_inputs_and_targets_works_as_it_is():
    folder = settings().dev_data
    if folder is None or not (folder / "runs" / "medcalc_rules.json").exists():
        pytest.skip("no development data (HEED_DEV_DATA)")
    path = folder / "runs" / "medcalc_rules.json"
    task = load_task(path)
    inputs = [row["input"] for row in json.loads(path.read_text("utf-8"))["examples"]]
    assert len(task.examples) == 100
    assert [one.input for one in task.examples] == [text.strip() for text in inputs]
    assert all(one.question.startswith("Question:") for one in task.examples)
