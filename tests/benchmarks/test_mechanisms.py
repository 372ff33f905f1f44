"""Benchmarks of the mechanisms: both ways attend alike, figures become tables, the study goes on where it stopped."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import cases
import comparisons
import facts
import grid
import harness
import memory
import page
import speed
import study
import study_page
import tasks
import training
import write_page
from cases import METRICS, Case
from harness import Skip
from heed.attention import distance_attention
from tasks import IGNORED, TASKS, Recall
from training import Arm, Run


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(cases, "_UNIT", 0)
    monkeypatch.setattr(harness, "gc", SimpleNamespace(collect=lambda: None))


def test_both_ways_get_the_same_inputs() -> None:
    """Heed's dot product with c = 1/√D is torch's attention: what is timed side by side is the same work."""
    for case in (Case("dot", 48, causal=True), Case("dot", 48, kv_heads=2), Case("dot", 48, queries=1)):
        q, k, v, _ = case.inputs
        options = {name: case.options[name] for name in ("is_causal", "enable_gqa") if name in case.options}
        by_torch = torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)
        torch.testing.assert_close(distance_attention(q, k, v, **case.options), by_torch)
        assert q.shape[2] == (case.queries or 48)


def test_a_train_step_gives_gradients_to_all(monkeypatch) -> None:
    taken = []
    monkeypatch.setattr(
        torch.autograd, "grad", lambda out, inputs, grad: taken.append((out.requires_grad, len(inputs)))
    )
    Case("l1", 16, train=True).heed()
    Case("l1", 16, train=True).sdpa()
    Case("l1", 16).heed()
    assert taken == [(True, 3)] * 2


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_of_the_grid_runs(metric) -> None:
    Case(metric, 16, train=True).heed()


def test_short_calls_are_repeated(monkeypatch) -> None:
    monkeypatch.setattr(cases, "_UNIT", 1 << 19)
    monkeypatch.setattr(cases, "QUICK", False)
    assert [Case("l1", length).calls for length in (128, 512, 2048)] == [20, 2, 1]
    assert Case("l1", 8192, queries=1).calls == 20


def test_claims_have_the_bars_and_an_interval() -> None:
    claim = speed.faster(Case("l1", 16), 1e9, repeats=2)
    assert claim.verdict == "not met"
    low, high = map(float, claim.details["95 % interval"].split(" to "))
    assert low - 1e-3 <= claim.figure <= high + 1e-3
    assert speed.faster(Case("l1", 16), None, repeats=1).verdict == "reported"


def test_other_ways_give_what_heed_gives() -> None:
    """`compare` raises where they do not; a factor that is wrong by a tenth is found."""
    for metric, p in (("l1", 1.0), ("l2", 2.0), ("lp 2.5", 2.5), ("chebyshev", math.inf)):
        name = metric.partition(" ")[0]
        assert comparisons.compare(
            "cdist", Case(metric, 24), lambda n=name, p=p: comparisons.cdist(n, p), repeats=1
        ).figure
    comparisons.compare("broadcast", Case("l1", 24), lambda: comparisons.broadcast, repeats=1)
    comparisons.compare("softmax", Case("dot", 24), lambda: comparisons.eager, repeats=1)
    with pytest.raises(AssertionError, match="apart"):
        comparisons.compare("wrong", Case("l1", 24), lambda: comparisons.cdist("l1", 2.0), repeats=1)


def test_a_way_that_is_missing_is_skipped(monkeypatch) -> None:
    monkeypatch.setattr(comparisons.importlib.util, "find_spec", lambda name: None)
    claim = comparisons.compare("KeOps", Case("l1", 8), comparisons.keops)
    assert claim.verdict == "skipped"
    assert "pykeops is not installed" in claim.line


def test_transient_memory_counts_what_is_neither_held_nor_a_result(monkeypatch) -> None:
    """A way that keeps a matrix of rows by keys is found out; heed's kernel is not."""
    case = Case("l1", 2048)
    try:
        memory.reset_peak()
    except Skip as reason:
        pytest.skip(str(reason))
    matrix = 8 * 2048 * 2048 * 4
    assert memory.transient(case, by_torch=False)["transient"] < matrix / 2
    monkeypatch.setattr(memory, "distance_attention", lambda q, k, v, **_: torch.softmax(q @ k.mT, -1) @ v)
    assert memory.transient(case, by_torch=False)["transient"] > matrix / 2  # freed memory may serve again unseen


def test_intervals_apart_are_told() -> None:
    def row(metric: str, low: float, high: float) -> grid.Row:
        return {"what": "forward", "metric": metric, "ratio": (low + high) / 2, "interval": [low, high]}

    former = [row("l1", 1.0, 1.2), row("l2", 1.0, 1.2), row("lp 3", 1.0, 1.2)]
    now = [row("l1", 1.3, 1.4), row("l2", 0.8, 0.9), row("lp 3", 1.1, 1.3), row("dot", 1.0, 1.0)]
    assert [line.rsplit(", ", 1)[1] for line in grid.compare(now, former)] == ["faster", "slower", "not told apart"]


def test_grid_becomes_a_table_and_a_plot() -> None:
    rows = [row for shape in grid.shapes([16, 32], ["plain", "gqa"]) for row in grid.measure(shape, ["l1", "lp 3"], 1)]
    where = dict.fromkeys(("cpu", "cores", "threads", "load before", "torch", "python", "date", "commit"), "?")
    lines = grid.page(json.loads(json.dumps(rows)), where).splitlines()
    assert lines[0] == "| torch's time over heed's | torch, ms | l1 | lp 3 |"
    assert len(lines) == 2 + 2 * 2 * 2 + 2
    drawn = grid.drawing(rows)
    assert drawn.count("<polyline") == 3
    assert ">lp 3</text>" in drawn


def test_long_shapes_are_plain() -> None:
    found = list(grid.shapes([2048, 8192], list(grid.VARIANTS)))
    assert len(found) == 6 + 2


def test_plot_marks_powers_of_ten_and_keeps_labels_apart() -> None:
    drawn = page.plot({"a": [(1.0, 0.5), (10.0, 200.0)], "b": [(1.0, 1.0), (10.0, 199.0)]}, "t", "x", "y")
    assert all(f">{tick}<" in drawn for tick in ("1", "10", "100"))
    heights = page._apart({"a": 5.0, "b": 6.0, "c": 60.0})
    assert heights == {"a": 5.0, "b": 19.0, "c": 60.0}


def test_page_keeps_what_stands_around_the_marks(tmp_path) -> None:
    begin, end = page.marks("speed")
    path = tmp_path / "page.md"
    path.write_text(f"# Top\n{begin}\nold\n{end}\nend\n")
    page.fill("speed", "| new |", path)
    page.fill("speed", "| newer |", path)
    assert path.read_text() == f"# Top\n{begin}\n\n| newer |\n\n{end}\nend\n"
    with pytest.raises(ValueError, match="put them back"):
        page.fill("study", "| new |", path)


def test_the_page_in_docs_has_the_marks() -> None:
    text = page.PAGE.read_text()
    parts = ("temperatures", "rotations", "floors", "claims", "grid", "study")
    assert all(text.count(mark) == 1 for part in parts for mark in page.marks(part))


def test_facts_agree_with_what_metrics_say_of_themselves() -> None:
    for line in facts.rotations().splitlines()[2:]:
        name, relative = line.split("`")[1], line.split("|")[-2].strip()
        metric, _ = facts._named(name)
        assert relative == ("yes" if metric.rope_invariant else "no")
    rows = {line.split("`")[1]: line.split("|") for line in facts.temperatures().splitlines()[2:]}
    entropies = {name: [float(cell) for cell in row[4:6]] for name, row in rows.items()}
    assert all(6.3 < calibrated < 6.7 for _, calibrated in entropies.values())
    assert entropies["cosine"][0] > 6.92
    assert entropies["lp 0.5"][0] < 1


def test_floors_are_of_the_busiest_unit() -> None:
    """L1 at width 128: 256 instructions on 33.5e12 lanes; a dot product there: 512 FLOP on 989e12."""
    assert facts.floor("l1", 128) == pytest.approx(256 / 33.5e12)
    assert facts.floor("dot", 128) == pytest.approx(512 / 989e12)
    assert facts.floor("l2", 64) == pytest.approx(2 / 4.2e12)
    assert 13 < facts.free_group() < 15


def test_claims_of_the_mechanisms_are_picked_from_the_results() -> None:
    def record(name: str, claim: harness.Claim) -> dict[str, object]:
        values = {field: getattr(claim, field) for field in harness.Claim.__dataclass_fields__}
        return {"benchmark": name, "commit": "abc1234", "claims": [values]}

    where = dict.fromkeys(("cpu", "cores", "threads", "load before", "torch", "python", "date", "commit"), "?")
    mine = harness.at_least("sdpa / l1", 1.5, 1.25, {"95 % interval": "1.4 to 1.6"})
    kept = [record("guard_speed", harness.reported("other", 1.0)), record("mechanisms/speed", mine)]
    told = write_page.claims({"environment": where, "benchmarks": kept})
    assert "| sdpa / l1 | 1.5 x | 1.4 to 1.6 | >= 1.25 | met |" in told
    assert "other" not in told
    assert "abc1234" in told
    assert "Not measured: mechanisms/comparisons (never run)." in told
    kept.append({"benchmark": "mechanisms/memory", "broken": "no output", "commit": "abc1234", "claims": []})
    told = write_page.claims({"environment": where, "benchmarks": kept})
    assert "Not measured: mechanisms/memory (no output)." in told
    assert "mechanisms/speed (" not in told
    assert write_page.claims({"environment": where, "benchmarks": kept[:1]}) is None


def test_recall_can_be_answered_from_what_is_shown() -> None:
    ids, targets = Recall().batch(torch.Generator().manual_seed(0))
    for row, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        shown = dict(zip(row[:8:2], row[1:8:2], strict=True))
        assert len(shown) == 4
        assert wanted[:8] == [IGNORED] * 8
        assert wanted[8::2] == [shown[key] for key in row[8::2]] == row[9::2]
        assert set(wanted[9::2]) == {IGNORED}


def test_recall_counts_only_what_is_asked() -> None:
    task = Recall()
    ids, targets = task.held_out()[0]
    logits = torch.nn.functional.one_hot(ids.roll(-1, 1), task.vocabulary).float()
    assert task.judged(logits, targets) == 1.0
    assert task.judged(-logits, targets) < 0.1


def test_text_learned_and_text_judged_are_apart() -> None:
    task = TASKS["bytes"]
    learned, kept = (bytes(part.tolist()).decode() for part in task._texts)
    assert len(learned) > 5 * len(kept) > 50_000
    assert kept[:200] not in learned
    ids, targets = task.batch(torch.Generator().manual_seed(0))
    assert torch.equal(ids[:, 1:], targets[:, :-1])
    uniform = torch.zeros(*ids.shape, 256)
    assert task.judged(uniform, targets) == pytest.approx(8.0)
    assert 3.0 < task.threshold < 5.0


def test_arms_differ_only_where_they_should() -> None:
    def weights(arm: Arm) -> dict[str, torch.Tensor]:
        return dict(training.new_model(Run("recall", arm, 1e-3)).state_dict())

    dot = weights(Arm("dot", init="independent"))
    for arm in (Arm("l1", init="independent"), Arm("l1", "sqrt_dim", "independent"), Arm("l1", init="tied")):
        mine = weights(arm)
        assert mine.keys() == dot.keys()
        assert any("log_lambda" in name for name in mine)
        apart = {name for name in mine if not torch.equal(mine[name], dot[name])}
        assert apart == ({f"blocks.{i}.self_attn.k_proj.weight" for i in (0, 1)} if arm.init == "tied" else set())


def test_key_changes_with_everything_that_counts(monkeypatch) -> None:
    runs = [Run("recall", Arm("l1"), 1e-3), Run("recall", Arm("l1"), 1e-3, seed=1), Run("recall", Arm("l2"), 1e-3)]
    runs += [Run("recall", Arm("l1"), 1e-3, whole=True), Run("bytes", Arm("l1"), 1e-3), Run("recall", Arm("l1"), 2e-3)]
    assert len({run.key for run in runs}) == len(runs)
    before = runs[0].key
    monkeypatch.setattr(training, "VERSION", 99)
    assert runs[0].key != before


@pytest.fixture
def short(monkeypatch) -> None:
    """A study of seconds."""
    monkeypatch.setitem(training.STEPS, "recall", 2)
    monkeypatch.setattr(training, "LOOKS", 2)
    monkeypatch.setattr(study, "METRICS", ("dot", "l1"))
    monkeypatch.setattr(study, "RATES", {"recall": (1e-3,), "bytes": (1e-3,)})
    monkeypatch.setattr(study, "SEEDS", (0, 1))


@pytest.mark.usefixtures("short")
def test_study_goes_on_where_it_stopped(tmp_path) -> None:
    path, where = tmp_path / "study.jsonl", {"cpu": "?", "torch": "?", "python": "?", "commit": "?"}
    runs = [Run("recall", Arm(metric, init="independent"), 1e-3) for metric in ("dot", "l1")]
    results = study.load(path)
    assert study.perform(runs[:1], path, results, math.inf, where) == 0
    assert study.perform(runs, path, results, 0.0, where) == 1  # no time left
    path.write_text(path.read_text() + '{"key": "cut o')
    results = study.load(path)
    assert list(results) == [runs[0].key]
    record = results[runs[0].key]["result"]
    assert record["steps"] == 2
    assert len(record["curve"]) == len(record["entropy"]) == len(record["lambda"]) == 2
    assert all(0 < value < math.log(24) for value in record["entropy"])
    last = list(study.finals("recall", results))
    assert [(run.arm, run.seed, run.whole) for run in last] == [(runs[0].arm, 0, True), (runs[0].arm, 1, True)]


def test_what_cannot_be_computed_is_a_result(monkeypatch) -> None:
    step = training._step
    monkeypatch.setattr(training, "_step", lambda *some: step(*some) * math.nan)
    assert "not finite at step 1" in training.learn(Run("recall", Arm("l1"), 1e-3, steps=20))["failure"]


def test_best_is_solved_then_soon_then_good() -> None:
    def merit(task: str, **result: object) -> tuple[bool, float, float]:
        run = Run(task, Arm("l1"), 1e-3)
        return study.merit(run, {run.key: {"result": result}})

    ranked = [merit("recall", reached=90, figure=0.9), merit("recall", reached=300, figure=1.0)]
    ranked += [merit("recall", reached=None, figure=0.5), merit("recall", reached=None, figure=0.3)]
    ranked += [merit("recall", failure="not finite")]
    assert ranked == sorted(ranked, reverse=True)
    assert merit("bytes", reached=300, figure=3.5) > merit("bytes", reached=100, figure=3.6)


def record_of(run: Run, **result: object) -> dict[str, object]:
    where = {"cpu": "a processor", "torch": "2", "python": "3", "commit": "abc1234"}
    values = {"curve": [], "loss": 1.0, "entropy": [1.0, 2.0], "lambda": [[1.0], [3.0]], "seconds": 60.0}
    return {"key": run.key, "result": {**values, **result}, "where": where}


@pytest.mark.usefixtures("short")
def test_study_page_shows_every_cell_that_ran(monkeypatch) -> None:
    monkeypatch.setattr(study_page, "METRICS", ("dot", "l1"))
    monkeypatch.setattr(study_page, "RATES", study.RATES)
    monkeypatch.setattr(study_page, "SEEDS", study.SEEDS)
    solved, missed = (Run("recall", Arm(m, init="independent"), 1e-3) for m in ("dot", "l1"))
    broken = Run("recall", Arm("l1"), 1e-3)
    results = {solved.key: record_of(solved, figure=0.95, reached=90)}
    results[missed.key] = record_of(missed, figure=0.254, reached=None)
    results[broken.key] = {**record_of(broken), "result": {"failure": "the loss is not finite", "curve": []}}
    last = Run("recall", solved.arm, 1e-3, 0, whole=True)
    results[last.key] = record_of(last, figure=0.99, reached=80)
    told = study_page.text(results)
    assert "| dot | **90** | · |" in told
    assert "| l1 | 0.25 | · | failed | · |" in told
    assert "| threshold reached | 1 of 3 | 0 of 0 | 1 of 2 | 0 of 1 | 1 of 3 | 1 of 3 |" in told
    assert (
        "| dot, unit_variance, independent, λ0 1 | 0.001 | 1 | 0.990 | 80 | 1.00 | 1.00, 2.00 | 1.00, 3.00 | 60.0 |"
        in told
    )
    assert "abc1234" in told


def test_results_that_are_kept_belong_to_this_study() -> None:
    """Every kept line is a run of the present grid or its finals: the page shows no others."""
    path = Path(study.RESULTS)
    results = study.load(path)
    known = {run.key for task in tasks.TASKS for run in study.screen(task)}
    whole = {key for key, record in results.items() if record["run"]["whole"]}
    assert set(results) - whole <= known
    assert len(results) == len(path.read_text().splitlines())
