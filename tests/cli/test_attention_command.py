def test_selftest_prints_a_table_and_exits_with_0(heed):
    done = heed("attention", "selftest", "--metric", "l1")
    assert done.code == 0
    assert "6 of 6 checks passed" in done.out


def test_selftest_as_json_says_which_path_ran(heed):
    done = heed("attention", "selftest", "--metric", "l1", "--metric", "l2", "--backend", "tiled", "--json")
    assert done.code == 0
    assert done.json["success_rate"] == 1.0
    assert {name: path["path"] for name, path in done.json["paths"].items()} == {"l1": "tiled", "l2": "tiled"}


def test_selftest_exits_with_1_where_a_check_fails(heed):
    done = heed("attention", "selftest", "--metric", "l1", "--backend", "sdpa")
    assert done.code == 1
    assert "FAILED" in done.out


def test_selftest_refuses_an_unknown_metric(heed):
    done = heed("attention", "selftest", "--metric", "l11")
    assert done.code == 2
    assert "did you mean 'l1'" in done.err
