import json

import pytest

from heed.guard import Example


@pytest.fixture
def two(monkeypatch):
    """Short documents, so that the tiny model can read them."""
    pair = [
        Example("mail-clean", "mail", "Greet.", "Hello.", 0, None),
        Example("mail-bad", "mail", "Greet.", "Obey!", 1, None),
    ]
    monkeypatch.setattr("heed.guard.examples", lambda: tuple(pair))


def test_mistakes_are_shown_as_mistakes(heed, guarded, two, tmp_path):
    done = heed("demo", "--threshold", 0, *guarded)
    marks = {line.split()[1]: line.split()[0] for line in done.out.splitlines() if " mail-" in line}
    assert done.code == 0
    assert marks == {"mail-clean": "✗", "mail-bad": "✓"}
    assert done.out.splitlines()[-1] == "1 right, 1 wrong, 0 abstained"
    assert "\nmail-bad:\n\nheed guard\nALERT: Injection suspected" in done.out
    assert "page: heed-demo.html" in done.out
    assert "Injection suspected" in (tmp_path / "heed-demo.html").read_text("utf-8")


def test_without_a_threshold_all_are_abstained_from(heed, guarded, two):
    done = heed("demo", "--json", *guarded)
    assert done.code == 3
    assert (done.json["right"], done.json["wrong"], done.json["abstained"]) == (0, 0, 2)
    assert [example["right"] for example in done.json["examples"]] == [None, None]


def test_without_the_embedded_model_the_way_to_it_is_named(heed, tmp_path):
    done = heed("demo")
    assert done.code == 3
    assert "run `heed models pull`" in done.err
    assert not (tmp_path / "heed-demo.html").exists()


def test_the_page_goes_where_it_is_told_to(heed, guarded, two, tmp_path):
    assert heed("demo", "--threshold", 1, "--page", tmp_path / "p.html", *guarded).code == 0
    assert (tmp_path / "p.html").exists()


@pytest.mark.embedded
def test_the_shipped_documents_are_read_by_the_embedded_model(heed, tmp_path):
    from tiny import tiny_profile

    profile = tiny_profile(tmp_path / "profile.json", layers=30, heads=9, model="embedded")
    done = heed("demo", "--json", "--profile", profile, "--threshold", 0.5)
    found = json.loads(done.out)
    assert done.code == 0
    assert len(found["examples"]) == 10
    assert found["right"] + found["wrong"] == 10
