import json

import pytest

from heed.cli import evaluate as module


@pytest.fixture
def sets(tmp_path):
    """Two small labelled sets, the first with what rows may say of themselves."""
    paths = []
    for name in ("one", "two"):
        rows = [
            {"id": f"{name}-{place}-{label}", "instruction": "Greet.", "data": f"{name} {'obey ' * label}{place}"}
            | {"label": label}
            | ({"attack": "plain", "injected_start": 4, "injected_end": 8} if label and name == "one" else {})
            for place in range(12)
            for label in (0, 1)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        paths.append(path)
    return paths


@pytest.fixture(autouse=True)
def _few_repeats(monkeypatch):
    monkeypatch.setattr("heed.evaluation.measures._REPEATS", 100)


def test_a_guard_is_evaluated_and_the_report_is_written(heed, guarded, sets, tmp_path):
    done = heed("guard", "evaluate", *sets, *guarded, "--threshold", 0.5, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith("ranking")
    assert [line.split()[0] for line in done.out.splitlines()[1:4]] == ["one", "two", "all"]
    assert "plain" in done.out
    assert "report.html and 4 files beside it" in done.err  # no probability, so no picture of its calibration
    assert json.loads((tmp_path / "out" / "report.json").read_text())["overall"]["rows"] == 48


def test_json_has_every_measure(heed, guarded, sets):
    done = heed("guard", "evaluate", *sets, *guarded, "--threshold", 0.5, "--limit", 10, "--json")
    assert done.code == 0, done.err
    assert done.json["overall"]["rows"] == 20
    one = done.json["sets"]["one"]
    assert set(one["tpr_at_fpr"]) == {"0.001", "0.01", "0.05"}
    assert {"auroc", "auprc", "auroc_length_matched", "controls", "caught", "alarms", "localisation"} <= set(one)
    assert 0 <= one["localisation"]["f1"]["value"] <= 1


def test_leaving_one_out_fits_on_the_others(heed, tiny, sets):
    third = sets[0].with_name("three.jsonl")
    third.write_text(sets[0].read_text("utf-8").replace("one", "three"), encoding="utf-8")
    words = ["guard", "evaluate", "--leave-one-out", "--model", tiny, "--dtype", "float32", "--json"]
    done = heed(*words, *sets, third)
    assert done.code == 0, done.err
    assert done.json["way"] == "anew for each set, fitted on the others"
    assert set(done.json["sets"]) == {"one", "two", "three"}


def test_leaving_one_out_asks_for_three_sets_before_a_model_is_loaded(heed, sets, monkeypatch):
    monkeypatch.setattr(module, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    for few in (sets[:1], sets):
        done = heed("guard", "evaluate", "--leave-one-out", *few)
        assert done.code == 2
        assert "add data sets; three" in done.err
        assert "--method" not in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found none"),
        ('{"data": "a", "label": 2}\n', "bad.jsonl, line 1, found 2"),
        ('{"data": "a", "label": true}\n', "bad.jsonl, line 1, found True"),
        ('{"data": "a", "label": 1}\nnope\n', "bad.jsonl, line 2"),
        ("\udcff", "bad.jsonl"),
    ],
)
def test_a_bad_row_is_found_before_a_model_is_loaded(heed, sets, monkeypatch, text, message):
    monkeypatch.setattr(module, "load_guard", lambda *_, **__: pytest.fail("a model was loaded"))
    path = sets[0].with_name("bad.jsonl")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = heed("guard", "evaluate", *sets, path)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("label", [0, 1])
def test_a_set_of_one_class_is_evaluated(heed, guarded, tmp_path, label):
    known, missing = ("caught", "alarms") if label else ("alarms", "caught")
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"data": f"text {n}", "label": label}) + "\n" for n in range(3)))
    words = ["guard", "evaluate", path, *guarded, "--threshold", 0.5]
    done = heed(*words, "--json")
    assert done.code == 0, done.err
    overall = done.json["overall"]
    assert (overall["auroc"], overall[missing]) == (None, None)
    assert 0 <= overall[known]["value"] <= 1
    shown = heed(*words, "--out", tmp_path / "out")
    assert shown.code == 0, shown.err
    assert "only: it says nothing of how they rank" in shown.err
    assert (tmp_path / "out" / "report.html").exists()


def test_sets_of_one_class_cannot_be_compared(heed, tiny, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"data": "a", "label": 1}\n')
    done = heed("guard", "compare", tmp_path / "a.jsonl", "--models", tiny, "other")
    assert (done.code, "all with label 1, in a.jsonl" in done.err) == (2, True)


def test_a_threshold_is_not_left_out(heed, sets):
    assert heed("guard", "evaluate", *sets, "--leave-one-out", "--threshold", 0.5).code == 2


def test_two_profiles_are_compared(heed, tiny, sets, tmp_path, monkeypatch):
    monkeypatch.setattr("heed.evaluation.comparison._REPEATS", 100)
    folders = []
    for name, depth in (("p", 1), ("q", 2)):
        options = [word for path in sets for word in ("--data", path)]
        done = heed("guard", "fit", "--model", tiny, "--dtype", "float32", "--out", tmp_path / name, "--depth", depth,
                    "--fpr", 0.1, *options)  # fmt: skip
        assert done.code == 0, done.err
        folders.append(tmp_path / name)
    words = ["guard", "compare", *sets, "--models", tiny, tiny, "--profiles", *folders, "--dtype", "float32"]
    done = heed(*words)
    assert done.code == 0, done.err
    assert "AUROC" in done.out
    assert "the ensemble (average)" in done.out
    told = heed(*words, "--json", "--ensemble", "vote").json
    assert told["names"] == [f"{tiny} ({folder})" for folder in folders]
    assert {one["measure"] for one in told["ensemble"]} == {"AUROC", "TPR at 1 % FPR", "caught", "false alarms"}


def test_the_same_twice_is_bad_usage(heed, tiny, sets):
    done = heed("guard", "compare", *sets, "--models", tiny, tiny)
    assert done.code == 2
    assert "found the same twice" in done.err


def test_a_scan_is_exported_and_counted(heed, guarded, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": "a", "data": "Hello."}\n{"id": "b", "data": ""}\n')
    assert (
        heed("guard", "scan", tmp_path / "in.jsonl", "--out", tmp_path / "v.jsonl", *guarded, "--threshold", 1).code
        == 3
    )
    done = heed("guard", "export", tmp_path / "v.jsonl", "--out", tmp_path / "v.csv")
    assert done.code == 0, done.err
    assert "status empty_data" in done.out
    assert (tmp_path / "v.csv").read_text().startswith("id,flagged,action,score,threshold,review")
    told = heed("guard", "export", tmp_path / "v.jsonl", "--json").json
    assert (told["rows"], told["fine"], told["abstained"]) == (2, 1, 1)
    assert heed("guard", "export", tmp_path / "v.jsonl", "--out", tmp_path / "v.xls").code == 2
