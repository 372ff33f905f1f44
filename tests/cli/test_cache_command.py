from heed.picture.secret import token_of


def embedded(tmp_path):
    folder = tmp_path / "cache" / "models" / "embedded"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"\0" * 2_000_000)
    return folder


def test_info_says_where_and_how_large(heed, tmp_path):
    embedded(tmp_path)
    done = heed("cache", "info")
    assert done.code == 0
    assert str(tmp_path / "cache") in done.out
    assert heed("cache", "info", "--json").json["mb"] == 2.0


def test_clear_deletes_when_told_so(heed, tmp_path):
    folder = embedded(tmp_path)
    token = token_of(8000)
    assert heed("cache", "clear", "--analyses", "--yes").code == 0
    assert token_of(8000) == token
    done = heed("cache", "clear", "--yes")
    assert done.code == 0
    assert done.out.startswith("deleted 2 MB")
    assert not folder.exists()
    assert token_of(8000) != token


def test_clear_without_a_terminal_asks_for_yes(heed, tmp_path):
    folder = embedded(tmp_path)
    done = heed("cache", "clear")
    assert done.code == 2
    assert "add --yes" in done.err
    assert folder.exists()


def test_clear_asks_on_a_terminal_and_takes_no_for_an_answer(heed, tmp_path, monkeypatch):
    folder = embedded(tmp_path)
    monkeypatch.setattr("heed.cli.cache._on_a_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda question, **_: False)
    done = heed("cache", "clear")
    assert (done.code, done.err) == (0, "nothing was deleted\n")
    assert folder.exists()


def test_clear_of_an_empty_cache_is_fine(heed):
    done = heed("cache", "clear", "--yes", "--json")
    assert (done.code, done.json["deleted"]) == (0, [])
