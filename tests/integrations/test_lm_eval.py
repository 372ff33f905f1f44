"""Against the real lm-evaluation-harness: a small task of local files, answered and cited offline."""

import json
import sys

import numpy as np
import pytest

from heed.errors import ExtraMissingError, InputError
from tiny import keen_model

pytestmark = pytest.mark.filterwarnings("default")  # theirs
ROWS = [
    {"context": ["Ada lives in Rome.", "Bob lives in Paris."], "question": "Who lives in Paris?", "gold": [1]},
    {"context": ["It weighs 1.4 kg.", "It came on Monday."], "question": "How heavy?", "gold": [0]},
    {"context": ["Elsewhere."], "question": "Lost?", "lost": True},
]
TASK = """
task: people/here
dataset_path: json
dataset_kwargs: {{data_files: {folder}/docs.jsonl}}
test_split: train
output_type: generate_until
doc_to_text: "{{% if not lost %}}{{{{context | join(' ')}}}}{{% endif %}}\\n\\nQuestion: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{question}}}}"
generation_kwargs: {{max_gen_toks: 6, do_sample: false}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def test_without_the_library_the_extra_is_named(monkeypatch):
    for name in [*sys.modules, "lm_eval"]:
        if name.partition(".")[0] == "lm_eval":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "heed.integrations.lm_eval", raising=False)
    with pytest.raises(ExtraMissingError, match=r"heed\[lm-eval\]"):
        __import__("heed.integrations.lm_eval")


@pytest.fixture(scope="module")
def harness():
    return pytest.importorskip("lm_eval", reason="the extra `lm-eval` is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return keen_model(tmp_path_factory.mktemp("models") / "keen")


@pytest.fixture(scope="module")
def evaluate(harness, model, tmp_path_factory):
    """Run the task with the harness, by the model's registered name."""
    import heed.integrations.lm_eval  # noqa: F401 - registers it

    folder = tmp_path_factory.mktemp("task")
    (folder / "docs.jsonl").write_text("".join(json.dumps({"lost": False, **row}) + "\n" for row in ROWS))
    (folder / "people.yaml").write_text(TASK.format(folder=folder))

    def run(out, name="heed", **more):
        from lm_eval.tasks import TaskManager

        own = {"out": str(out), "method": "all_layers", "dtype": "float32"} if name == "heed" else {"dtype": "float32"}
        done = harness.simple_evaluate(
            model=name,
            model_args={"pretrained": model.name, **own},
            tasks=["people/here"],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            device="cpu",
            bootstrap_iters=0,
            **more,
        )
        return [sample["resps"][0][0] for sample in done["samples"]["people/here"]]

    return run


def records(out):
    lines = (out / "people_here" / "citations.jsonl").read_text().splitlines()
    return {record["doc_id"]: record for record in map(json.loads, lines)}


def test_answers_are_the_harnesss_own_and_each_is_cited(evaluate, tmp_path, model):
    answers = evaluate(tmp_path / "out")
    assert answers == evaluate(None, name="hf")
    found = records(tmp_path / "out")
    assert [found[number]["response"] for number in range(3)] == answers
    for number in (0, 1):
        record = found[number]
        assert (record["status"], record["context"]) == ("ok", " ".join(ROWS[number]["context"]))
        assert record["gold"] == ROWS[number]["gold"]
        assert sorted(record["citation"]["ranking"]) == [0, 1]
        assert record["citation"]["facts"][0]["text"] in ROWS[number]["context"]
        assert (record["read_by"]["fingerprint"], record["read_by"]["form"]) == (model.fingerprint, "plain")
        folder = tmp_path / "out" / "people_here" / record["folder"]
        assert folder.name == f"example_{number:04d}"
        index = json.loads((folder / "analysis_summary.json").read_text())
        assert (index["status"], index["example_idx"]) == ("ok", number)
        with np.load(folder / "essential_attention_data.npz", allow_pickle=False) as arrays:
            rows = arrays["attention"]
        assert rows.dtype == np.float16
        assert rows.shape[:2] == (2, 2)
    assert found[2]["status"] == "no_context"
    assert "Elsewhere." in found[2]["reason"]


def test_a_chat_prompt_is_read_through_the_template(evaluate, tmp_path, model):
    from heed.citation import cite

    evaluate(tmp_path / "out", apply_chat_template=True, limit=1)
    (record,) = records(tmp_path / "out").values()
    assert record["prompt"].startswith("<|im_start|>user\n")
    assert record["read_by"]["form"] == "chat"
    assert record["context"] == " ".join(ROWS[0]["context"])
    told = cite(
        model,
        record["context"],
        "Question: Who lives in Paris?\nAnswer:",
        record["response"],
        method="all_layers",
        units=ROWS[0]["context"],
    )
    assert record["citation"]["scores"] == pytest.approx(told.scores.tolist(), abs=1e-5)


def test_repeats_have_folders_of_their_own(evaluate, tmp_path, harness, model):
    from lm_eval.api.instance import Instance

    from heed.integrations.lm_eval import HeedLM

    lm = HeedLM(model.name, out=tmp_path / "out", method="all_layers", dtype="float32", device="cpu")
    request = Instance("generate_until", {}, ("A b.\n\nWho?", {"max_gen_toks": 3}), 0, ("free", 63, 2))
    lm.generate_until([request, request], disable_tqdm=True)
    lm.generate_until([request], disable_tqdm=True)
    folders = sorted(path.name for path in (tmp_path / "out" / "free" / "top_k").iterdir())
    assert folders == ["example_0063", "example_0063_2", "example_0063_3"]
    lines = (tmp_path / "out" / "free" / "citations.jsonl").read_text().splitlines()
    assert [json.loads(line)["context"] for line in lines] == ["A b."] * 3


def test_a_folder_in_use_is_refused_before_a_model_is_loaded(harness, tmp_path):
    from heed.integrations.lm_eval import HeedLM

    (tmp_path / "mine").write_text("x")
    with pytest.raises(InputError, match="new or an empty folder"):
        HeedLM("no-such-model", out=tmp_path)
