"""The served page in a real browser."""

import time
from dataclasses import replace
from urllib.parse import parse_qs, urlparse

import pytest

pytest.importorskip("starlette", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")

from heed.picture import pyramid
from heed.picture.serve import serve
from mapped import Gate, scene_of, weights_of
from viewing import SCENE, approximately, reload, walk


@pytest.fixture
def served(tmp_path):
    with serve(SCENE) as running:
        yield running


def asked(viewer, what: str) -> list[dict[str, str]]:
    """The parameters of every request for tiles, rows, …."""
    urls = [urlparse(url) for url in viewer.requests]
    return [
        {name: values[0] for name, values in parse_qs(url.query).items()}
        for url in urls
        if url.path.endswith(f"/{what}")
    ]


def test_everything_works(viewer, served) -> None:
    walk(viewer.open(served.url))
    reload(viewer)


def test_only_what_is_visible_is_fetched(viewer, served) -> None:
    viewer.open(served.url + "#x=600&y=600&zoom=8")
    tiles = [(ask["level"], ask["row"], ask["col"]) for ask in asked(viewer, "tile")]
    assert viewer.data("level") == "0"
    assert ("0", "2", "2") in tiles
    assert len({tile for tile in tiles if tile[0] == "0"}) <= 4  # of nine
    assert {ask["layer"] for ask in asked(viewer, "tile")} == {"1"}


def test_a_view_is_an_address(viewer, served) -> None:
    viewer.open(served.url)
    viewer.zoom_in()
    viewer.root.get_by_label("Head", exact=True).select_option("1")
    viewer.settle()
    viewer.page.wait_for_url("**/#*head=1*")
    before, address = viewer.state, viewer.page.url
    viewer.page.goto("about:blank")
    viewer.open(address)
    assert viewer.state == approximately(before)


def test_a_server_that_went_is_said_and_found_again(viewer, served) -> None:
    viewer.open(served.url)
    served.close()
    viewer.root.get_by_label("Head", exact=True).select_option("0")
    viewer.until("element => 'lost' in element.dataset")
    assert "cannot be reached" in viewer.root.get_by_role("alert").inner_text()
    assert viewer.complaints != []
    viewer.complaints.clear()
    with serve(SCENE, port=int(served.url.split(":")[2].split("/")[0])) as again:
        assert again.url == served.url
        viewer.until("element => !('lost' in element.dataset)")
        viewer.settle()
        assert viewer.data("head") == "0"
        assert viewer.pixels() > 10_000
        viewer.complaints.clear()


def test_another_name_for_this_machine_is_refused(viewer, served) -> None:
    """A page of the web whose name points to 127.0.0.1 gets nothing."""
    answer = viewer.page.goto(served.url.replace("127.0.0.1", "evil.example"))
    assert answer.status == 421
    assert viewer.root.count() == 0
    viewer.requests.clear()
    viewer.complaints.clear()


def test_sampled_rows_are_said_until_the_exact_picture_is_there(viewer, monkeypatch) -> None:
    monkeypatch.setattr(pyramid, "_QUICK_CELLS", 50_000)
    with serve(SCENE) as running:
        viewer.open(running.url)
        tiles = [ask for ask in asked(viewer, "tile") if ask["level"] == viewer.data("level")]
        assert {ask["exact"] for ask in tiles} == {"0", "1"}


def test_a_browser_that_closes_in_the_middle_ends_the_work(viewer, monkeypatch) -> None:
    monkeypatch.setattr(pyramid, "_QUICK_CELLS", 50_000)
    scene = scene_of(weights_of(700, 700, heads=1))
    gate = Gate(scene.maps)
    with serve(replace(scene, maps=gate)) as running:
        viewer.page.goto(running.url)
        assert gate.begun.wait(20)
        viewer.page.close()
        time.sleep(0.3)
        gate.open.set()
        end = time.monotonic() + 10
        while running._desk.pressed or running._desk.status()[0]:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert gate.blocks <= 4
