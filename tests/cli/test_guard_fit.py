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
