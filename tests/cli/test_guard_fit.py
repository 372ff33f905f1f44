import json

import pytest


@pytest.fixture
def data(tmp_path):
    """Two small data sets of both classes."""
    paths = []
    for name in ("one", "two"):
        rows = [
            {"instruction": "Greet.", "data": f"{name} {'obey ' * label}{place}", "label": label}
            for place in range(12)
            for label in (0, 1)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        paths += ["--data", path]
    return paths


def test_what_fit_writes_check_finds(heed, tiny, data):
    done = heed("guard", "fit", "--model", tiny, "--dtype", "float32", "--fpr", 0.1, *data)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith("data set")
    assert "written to" in done.err
    judged = heed(
        "guard",
        "check",
        "--model",
        tiny,
        "--dtype",
        "float32",
        "--json",
        "--instruction",
        "Greet.",
        stdin=b"one obey 3",
    )
    assert judged.code in (0, 1)
    assert judged.json["status"] == "ok"
    assert 0 <= judged.json["probability"] <= 1


def test_a_profile_file_is_as_good_as_its_folder(heed, tiny, data, tmp_path):
    done = heed("guard", "fit", "--model", tiny, "--dtype", "float32", "--out", tmp_path / "mine", "--depth", 1, *data)
    assert done.code == 0, done.err
    words = ["guard", "check", "--model", tiny, "--dtype", "float32", "--json", "--instruction", "Greet.", "--profile"]
    file, folder = (
        heed(*words, path, stdin=b"one obey 3").json for path in (tmp_path / "mine" / "profile.json", tmp_path / "mine")
    )
    assert file["status"] == folder["status"] == "ok"
    assert file["threshold"] == folder["threshold"]


def test_what_the_rows_cannot_show_is_said(heed, tiny, data, tmp_path):
    shared = tmp_path / "two.jsonl"
    shared.write_text(shared.read_text("utf-8").replace('"two 3"', '"one 3"'), encoding="utf-8")
    words = ["guard", "fit", "--model", tiny, "--dtype", "float32", "--out", tmp_path / "mine", "--depth", 1, *data]
    told = heed(*words).err
    assert "note: with an instruction: 1.0% of 24 benign rows is less than one row" in told
    assert "note: 1 texts stand in both one and two" in told
    found = heed(*words, "--json").json
    assert found["duplicates"] == [
        {"sets": ["one", "two"], "texts": 1, "contradictory": 0, "example": ["7", "7"]},
    ]
    assert any("less than one row" in note for note in found["notes"])


def test_fit_writes_where_it_is_told_to(heed, tiny, data, tmp_path):
    done = heed(
        "guard", "fit", "--model", tiny, "--out", tmp_path / "mine", "--depth", 1, "--limit", 20, "--json", *data
    )
    assert done.code == 0, done.err
    assert done.json["folder"] == str(tmp_path / "mine")
    assert (done.json["depth"], done.json["rows"]) == (1, 40)
    assert (tmp_path / "mine" / "profile.json").exists()
    assert (tmp_path / "mine" / "calibration.json").exists()


@pytest.mark.parametrize("options", [["--depth", "deep"], ["--depth", "0"], ["--fpr", "0"], ["--fpr", "2"]])
def test_settings_that_mean_nothing_are_bad_usage(heed, tiny, data, options):
    done = heed("guard", "fit", "--model", tiny, *options, *data)
    assert done.code == 2
    assert "expected" in done.err


def test_a_row_without_a_label_is_named(heed, tiny, data, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"data": "a"}\n', encoding="utf-8")
    done = heed("guard", "fit", "--model", tiny, *data)
    assert done.code == 2
    assert "one.jsonl, line 1" in done.err
