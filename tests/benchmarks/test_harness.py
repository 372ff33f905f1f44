import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import harness
import heed
import inputs
import run
import trace_8k
from harness import Claim, Skip, Timings, at_least, at_most, interleaved, reported, skipped
from heed.probe import LastRowMass, encode_prompt, read
from heed.text.span import TokenSpan
from published import PublishedWay

FOLDER = Path(run.__file__).parent
SHARED = {"adaptive", "buried", "harness", "inputs", "machine", "published", "run"}
SHARED |= {f"mechanisms/{name}" for name in ("cases", "facts", "grid", "page", "write_page")}
SHARED |= {f"mechanisms/{name}" for name in ("study", "study_page", "tasks", "training")}


@pytest.fixture
def tiny() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (at_most("a", 1.03, 1.03), "met"),
        (at_most("a", 1.031, 1.03), "not met"),
        (at_least("a", 5.0, 5.0), "met"),
        (at_least("a", 4.9, 5.0), "not met"),
        (at_most("a", float("nan"), 1.0), "not met"),
        (at_least("a", float("nan"), 1.0), "not met"),
        (reported("a", 0.9), "reported"),
        (skipped("a", "no data"), "skipped"),
    ],
)
def test_claim_verdict(claim: Claim, verdict: str) -> None:
    assert claim.verdict == verdict
    assert verdict in claim.line


def test_claim_line_names_figure_and_bar() -> None:
    assert at_most("probe", 1.0123, 1.03).line == "probe: 1.012 x (bar <= 1.03), met"
    assert skipped("probe", "no model").line == "probe: skipped, no model"


def test_interleaved_alternates_and_counts() -> None:
    ran: list[tuple[str, int]] = []
    ways = {name: lambda repeat, name=name: ran.append((name, repeat)) for name in "ab"}
    times = interleaved(ways, repeats=3)
    assert ran == [("b", -1), ("a", -1), ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert {name: len(seconds) for name, seconds in times.seconds.items()} == {"a": 3, "b": 3}


def test_timings_ratio_is_the_median_of_pairs() -> None:
    """The machine slows down threefold in the last repeats: the pairs do not notice, the medians do."""
    times = Timings({"a": [1.1, 1.1, 3.3, 3.3, 3.3], "b": [1.0, 1.0, 1.0, 3.0, 3.0]})
    assert times.ratio("a", "b") == pytest.approx(1.1)
    assert times.details("a", "b")["ratio of medians"] == pytest.approx(3.3)
    assert "5 repeats" in times.details("a", "b")["paired ratios"]


@pytest.mark.parametrize(("repeats", "low", "high"), [(1, 0, 0), (5, 0, 4), (9, 1, 7), (15, 3, 11), (21, 5, 15)])
def test_interval_holds_the_median_with_95_percent(repeats: int, low: int, high: int) -> None:
    """Ranks of the tables of the sign test (Conover, Practical Nonparametric Statistics, A3)."""
    times = Timings({"a": [float(n) for n in reversed(range(repeats))], "b": [1.0] * repeats})
    assert times.interval("a", "b") == (low, high)


def missing() -> list[Claim]:
    raise Skip("no model here")


@pytest.mark.parametrize(
    ("measure", "code"),
    [
        (lambda: [at_most("a", 1, 2), skipped("b", "why")], 0),
        (lambda: [at_most("a", 3, 2), at_most("b", 1, 2)], 1),
        (lambda: [skipped("a", "why")], 3),
        (missing, 3),
    ],
)
def test_main_exit_code_and_json_line(measure, code, capsys, monkeypatch) -> None:
    monkeypatch.setattr(harness, "THREADS", torch.get_num_threads())
    with pytest.raises(SystemExit) as left:
        harness.main("/somewhere/some_claim.py", measure)
    assert left.value.code == code
    record = run.record_of("some_claim", capsys.readouterr().out)
    assert record["benchmark"] == "some_claim"
    assert all(isinstance(Claim(**claim).line, str) for claim in record["claims"])


@pytest.mark.parametrize("stdout", ["", "killed", '["no record"]', '{"no": "claims"}'])
def test_record_of_broken_benchmark(stdout: str) -> None:
    record = run.record_of("some_claim", stdout, "Traceback\nMemoryError: too much")
    assert record["claims"] == []
    assert record["broken"]


def test_markdown_shows_claims_skips_and_breakage() -> None:
    claims = [at_most("probe", 1.01, 1.03, {"table": "| a |\n|---|\n| 1 |", "repeats": 9}), skipped("bf16", "no CPU")]
    record = {"benchmark": "one", "seconds": 1.0, "claims": json.loads(json.dumps([_value(c) for c in claims]))}
    page = run.markdown([record, run.broken("two", "died")], {"commit": "abc1234-dirty"})
    assert "- commit: abc1234-dirty" in page
    assert "| one | probe | 1.01 x | <= 1.03 | met |" in page
    assert "| one | bf16 |  |  | skipped: no CPU |" in page
    assert "broken: died" in page
    assert "\n\n| a |\n|---|\n| 1 |" in page


def _value(claim: Claim) -> dict[str, object]:
    return {name: getattr(claim, name) for name in Claim.__dataclass_fields__}


def test_run_knows_every_benchmark() -> None:
    found = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.py")}
    assert set(run.NAMES) == found - SHARED


def test_a_benchmark_is_named_by_its_place() -> None:
    assert harness.name_of(str(FOLDER / "mechanisms" / "speed.py")) == "mechanisms/speed"
    assert harness.name_of("/somewhere/some_claim.py") == "some_claim"


def test_dev_sets_without_data_is_skipped(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HEED_DEV_DATA", str(tmp_path))
    with pytest.raises(Skip, match="HEED_DEV_DATA"):
        inputs.dev_sets(0)


def test_dev_sets_draws_classes_alike(monkeypatch, tmp_path) -> None:
    rows = [{"instruction": None, "data": f"text {n}", "label": int(n >= 27)} for n in range(30)]
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "one.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("HEED_DEV_DATA", str(tmp_path))
    drawn, of = inputs.dev_sets(10)["one"]
    assert (len(drawn), of, sum(row.label for row in drawn)) == (10, 30, 3)
    assert len(inputs.dev_sets(0)["one"][0]) == 30


def test_published_way_reads_what_heed_reads(tiny) -> None:
    ids = torch.randint(0, 64, (1, 23))
    prompt, spans = ids[0].numpy(), [TokenSpan(3, 9), TokenSpan(11, 18)]
    model = heed.wrap(tiny)
    reading = read(model, [encode_prompt(model, prompt)], {"mass": LastRowMass()}, spans=[spans])
    way = PublishedWay(tiny, heads=[(0, 1), (2, 3)])
    published = way.read(ids, slice(3, 9), slice(11, 18))
    mass = reading.stack("mass")[0]
    np.testing.assert_allclose(published.own, mass[..., 0], atol=2e-3)  # fp16
    np.testing.assert_allclose(published.other, mass[..., 1], atol=2e-3)
    assert published.map_bytes == 3 * 4 * 23 * 23 * 2
    shares = mass[..., 0] / mass.sum(-1)
    assert way.score(published) == pytest.approx(statistics.fmean([shares[0, 1], shares[2, 3]]), abs=2e-3)


def test_trace_8k_dense_is_the_tile(tiny) -> None:
    found = heed.trace(heed.wrap(tiny), torch.randint(0, 64, (47,)).numpy())
    seconds, error = trace_8k.tiles(found, 11)
    assert len(seconds) == 3 * 4
    assert error < 1e-6
    view = found.layer(0)
    wrong = trace_8k.dense(view, 30, 5, 11) - trace_8k.dense(view, 31, 5, 11)
    assert float(wrong.abs().max()) > 1e-4
