"""Against the real Inspect: the scorer on logs it wrote, the provider, and logs that heed wrote."""

import json
import math
import re
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from heed.cli.main import main
from heed.errors import ExtraMissingError, InputError
from tiny import keen_model

pytestmark = pytest.mark.filterwarnings("default")  # theirs
FACTS = ["Ada lives in Rome.", "Bob lives in Paris.", "The parcel weighs 1.4 kg."]
ASKED = "Who lives in Paris?"


def test_without_the_library_the_extra_is_named(monkeypatch):
    for name in [*sys.modules]:
        if name.partition(".")[0] == "inspect_ai":
            monkeypatch.setitem(sys.modules, name, None)
    for name in ("inspect_ai", "inspect_ai.scorer", "inspect_ai.model"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("inspect", "inspect_model", "inspect_log"):
        monkeypatch.delitem(sys.modules, f"heed.integrations.{name}", raising=False)
    with pytest.raises(ExtraMissingError, match=r"heed\[inspect\]"):
        __import__("heed.integrations.inspect")


@pytest.fixture(scope="module")
def inspect_ai():
    return pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return keen_model(tmp_path_factory.mktemp("models") / "keen")


@pytest.fixture(scope="module")
def log(inspect_ai, tmp_path_factory):
    """A finished log, answered by a model that is no longer there."""
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate, system_message

    def output(text):
        made = ModelOutput.from_content("far-away", text)
        made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return made

    samples = [
        Sample("\n".join(FACTS) + f"\n\n{ASKED}", target="Bob", id="gold", metadata={"context": FACTS, "gold": [1, 2]}),
        Sample(f"{' '.join(FACTS[:2])}\n\nQuestion: {ASKED}\nAnswer:", target="Bob", id="plain"),
        Sample("Hello?", target="Hi", id="no context"),
        Sample(f"{FACTS[0]}\n\n{ASKED}", target="Bob", id="bad gold", metadata={"gold": [63]}),
    ]
    answers = get_model("mockllm/model", custom_outputs=[output("Bob lives there.") for _ in samples])
    task = inspect_ai.Task(samples, solver=[system_message("Be brief."), generate()], scorer=includes())
    folder = tmp_path_factory.mktemp("logs")
    return inspect_ai.eval(task, model=answers, log_dir=str(folder), display="none", max_samples=1)[0]


def scored(inspect_ai, log, **settings):
    from heed.integrations.inspect import citations

    return inspect_ai.score(log, citations(**settings), action="append", display="none")


def citation_of(log, name):
    return next(sample for sample in log.samples if sample.id == name).scores["citations"]


def test_a_finished_log_gets_citations(inspect_ai, log, model):
    found = scored(inspect_ai, log, model=model.name, method="all_layers", top=2, dtype="float32")
    score = citation_of(found, "gold")
    assert 0.0 < score.value["context_mass"] < 1.0
    facts = score.metadata["facts"]
    assert [fact["rank"] for fact in facts] == [1, 2]
    assert score.value["recall"] == sum(fact["index"] in (1, 2) for fact in facts) / 2
    messages = next(sample for sample in found.samples if sample.id == "gold").messages
    for fact in facts:
        said = messages[fact["message"]]
        assert said.text[fact["start"] : fact["end"]] == fact["text"] == FACTS[fact["index"]]
        assert said.id == fact["message_id"]
    assert score.metadata["scanner_references"] == [{"type": "message", "cite": "[M2]", "id": messages[1].id}]
    assert (score.metadata["model"], score.metadata["fingerprint"]) == (model.name, model.fingerprint)
    assert math.isnan(citation_of(found, "plain").value["recall"])
    assert citation_of(found, "plain").metadata["units"] == 2
    for name, said in (("no context", "found the question alone"), ("bad gold", r"from 0 to 0, found \[63\]")):
        unscored = citation_of(found, name)
        assert math.isnan(unscored.value)
        assert unscored.reason == "not_citable"
        assert re.search(said, unscored.explanation)
    assert "includes" in found.samples[0].scores


def test_it_says_what_heed_cite_says(inspect_ai, log, model):
    from heed.citation import cite

    found = scored(inspect_ai, log, model=model.name, method="all_layers", dtype="float32")
    told = cite(model, "\n".join(FACTS), ASKED, "Bob lives there.", method="all_layers", units=FACTS)
    score = citation_of(found, "gold")
    assert [fact["index"] for fact in score.metadata["facts"]] == list(told.ranking)
    assert score.value["context_mass"] == pytest.approx(told.context_mass, abs=1e-6)


def test_metrics_leave_out_what_has_no_value(inspect_ai, log, model):
    found = scored(inspect_ai, log, model=model.name, method="all_layers", dtype="float32")
    counted = {one.name: (one.scored_samples, one.unscored_samples) for one in found.results.scores}
    assert counted["context_mass"] == (2, 2)
    assert counted["recall"] == (1, 3)


def test_a_method_without_attention_has_no_mass(inspect_ai, log, model):
    found = scored(inspect_ai, log, model=model.name, method="bm25")
    score = citation_of(found, "gold")
    assert math.isnan(score.value["context_mass"])
    assert score.metadata["facts"][0]["text"] == FACTS[1]


def test_a_model_that_is_not_there_ends_it(inspect_ai, log, tmp_path):
    with pytest.raises(Exception, match="model folder"):
        scored(inspect_ai, log, model=str(tmp_path / "none"))


@pytest.fixture
def entry_point(inspect_ai):
    if not entry_points(group="inspect_ai", name="heed"):
        pytest.skip("heed was installed before it had this entry point: pip install --no-deps -e .")


def test_inspects_command_finds_the_scorer(entry_point, log, model, tmp_path):
    from click.testing import CliRunner
    from inspect_ai._cli.score import score_command
    from inspect_ai.log import read_eval_log

    out = tmp_path / "scored.eval"
    words = [log.location, "--scorer", "heed/citations", "--action", "append", "--output-file", str(out)]
    settings = {"model": model.name, "method": "all_layers", "dtype": "float32"}
    words += [word for name, value in settings.items() for word in ("-S", f"{name}={value}")]
    done = CliRunner().invoke(score_command, [*words, "--display", "none"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert {*read_eval_log(str(out)).samples[0].scores} == {"includes", "citations"}


def test_importing_the_entry_point_imports_no_torch(inspect_ai):
    code = "import sys, heed.integrations.inspect; print('torch' in sys.modules, 'heed.citation' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


def test_a_local_model_answers_inspect(inspect_ai, model, tmp_path):
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.solver import generate

    import heed.integrations.inspect  # noqa: F401 - registers it
    from heed.upstream import LocalUpstream

    asked = get_model(f"heed/{model.name}", config=GenerateConfig(max_tokens=7), dtype="float32")
    task = inspect_ai.Task([Sample("Hello.")], solver=generate())
    done = inspect_ai.eval(task, model=asked, log_dir=str(tmp_path), display="none")[0]
    assert done.status == "success", done.error
    expected = LocalUpstream(model).answer("Hello.", max_new_tokens=7)
    output = done.samples[0].output
    assert (output.completion, output.stop_reason) == (expected.text, "max_tokens")
    assert output.usage.output_tokens == 7


def test_what_a_local_model_cannot_do_is_refused(inspect_ai, model, tmp_path):
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.solver import generate

    from heed.integrations.inspect_model import HeedAPI

    with pytest.raises(InputError, match="no address"):
        HeedAPI(model.name, base_url="http://localhost")
    task = inspect_ai.Task([Sample("Hello.")], solver=generate())
    asked = get_model(f"heed/{model.name}", config=GenerateConfig(top_p=0.5))
    done = inspect_ai.eval(task, model=asked, log_dir=str(tmp_path), display="none")[0]
    assert done.status == "error"
    assert "top_p" in done.error.message


class Scripted:
    """Answers from a list; None is no answer."""

    name = "far-away"

    def __init__(self, *texts):
        self.texts = list(texts)

    def answer(self, messages, *, max_new_tokens=512, temperature=0.0, seed=None):
        from heed.errors import UpstreamRefusedError
        from heed.upstream import Answer, Usage

        text = self.texts.pop(0)
        if text is None:
            raise UpstreamRefusedError("expected an answer, found status 401")
        return Answer(text, "far-away-2026", 0.25, Usage(7, 2), "length" if text == "Cut" else "stop")


@pytest.fixture
def run(inspect_ai, model, tmp_path):
    from heed.evaluation.runs import Reader, load_task, read_run, start

    context = " ".join(FACTS)
    rows = [
        {"input": f"{context}\n\n{ASKED}", "target": "Bob"},
        {"input": f"{context}\n\nWho lives in Rome?", "target": "Ada"},
        {"input": f"{context}\n\nWho?", "target": "Bob"},
        {"input": "Hello?", "target": "Hi"},
    ]
    path = tmp_path / "people.json"
    path.write_text(json.dumps({"examples": rows}))
    reader = Reader(model, method="all_layers")
    start(load_task(path), Scripted("Bob", "Cut", None, "Hi"), tmp_path / "runs", reader=reader)
    return read_run(tmp_path / "runs" / "far-away" / "people")


@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_a_run_becomes_a_log_that_inspect_reads(run, tmp_path, heed_command, suffix):
    from inspect_ai.log import read_eval_log

    out = tmp_path / f"log{suffix}"
    assert heed_command("run", "export", run.folder, "--inspect", out) == 0
    log = read_eval_log(str(out))
    assert (log.status, log.eval.task, log.eval.model) == ("success", "people", "heed/far-away")
    first, second, third, fourth = log.samples
    assert [sample.scores["grade"].value for sample in (first, second, fourth)] == ["C", "I", "C"]
    assert first.scores["citations"].metadata["facts"] == [
        {"rank": rank, **fact} for rank, fact in enumerate(run.samples[0]["attention"]["facts"], 1)
    ]
    assert first.scores["citations"].value["context_mass"] == run.samples[0]["attention"]["context_mass"]
    assert (first.input, first.output.completion) == (run.samples[0]["prompt"], "Bob")
    assert (first.output.usage.input_tokens, second.output.stop_reason) == (7, "max_tokens")
    assert "401" in third.error.message
    assert third.scores is None
    assert fourth.scores["citations"].reason == "no_context"
    accuracy = next(score for score in log.results.scores if score.name == "grade").metrics["accuracy"].value
    assert accuracy == run.summary.accuracy == 0.5
    assert (log.results.total_samples, log.results.completed_samples) == (4, 3)


def test_inspects_viewer_can_list_an_exported_log(run, tmp_path):
    from inspect_ai.log import list_eval_logs, read_eval_log_samples

    from heed.integrations.inspect_log import write_log

    write_log(run, tmp_path / "logs.json")
    (tmp_path / "all").mkdir()
    write_log(run, tmp_path / "all" / "2026-01-01T00-00-00_people_1.eval")
    (listed,) = list_eval_logs(str(tmp_path / "all"))
    assert len(list(read_eval_log_samples(listed, all_samples_required=False))) == 4


def test_an_exported_log_can_be_scored_again(entry_point, inspect_ai, run, model):
    from heed.integrations.inspect_log import log_of

    found = scored(inspect_ai, log_of(run), model=model.name, method="all_layers", dtype="float32")
    first = found.samples[0].scores
    again = first["citations1"] if "citations1" in first else first["citations"]
    ranks = [fact["index"] for fact in again.metadata["facts"]]
    assert ranks == [fact["index"] for fact in run.samples[0]["attention"]["facts"]]


def test_a_bad_export_is_refused_before_anything_is_read(inspect_ai, tmp_path, heed_command, capsys):
    assert heed_command("run", "export", tmp_path, "--inspect", tmp_path / "log.txt") == 2
    assert heed_command("run", "export", tmp_path, "--inspect", tmp_path / "none" / "log.json") == 2
    assert heed_command("run", "export", tmp_path, "--inspect", tmp_path / "log.json") == 2
    said = capsys.readouterr().err
    assert all(one in said for one in (".json or .eval", "create it first", "expected a run's folder"))


@pytest.fixture
def heed_command():
    return lambda *words: main([str(word) for word in words])
