"""The tile server: addresses, tokens, names, headers, and a browser that goes away in the middle."""

import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from heed.errors import InputError, StoreError
from heed.picture import pyramid as pyramid_module
from heed.picture.serve import serve
from heed.picture.tileserver import app
from mapped import Gate, coarse, scene_of, weights_of

WEIGHTS = weights_of(300, 300)
SCENE = scene_of(WEIGHTS)
TILE = "tile?layer=0&head=1&level=0&row=0&col=0"


@pytest.fixture
def client():
    with TestClient(app(SCENE, token="secret", hosts=("localhost",)), base_url="http://localhost:1234") as made:
        yield made


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HEED_CACHE_DIR", str(tmp_path / "cache"))


def test_the_page_and_its_script(client) -> None:
    page = client.get("/secret/")
    assert page.status_code == 200
    assert f'data-heed-trace="{SCENE.maps.identity}"' in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    script = client.get("/secret/viewer.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["x-content-type-options"] == "nosniff"


def test_tiles_are_binary_and_kept_by_the_browser_once_exact(client) -> None:
    answer = client.get(f"/secret/{TILE}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-heed-rows"] == "256/256"
    assert "immutable" in answer.headers["cache-control"]
    np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4").reshape(256, 256), WEIGHTS[0, 1, :256, :256])


def test_sampled_tiles_are_not_kept_and_say_what_they_are(client, monkeypatch) -> None:
    monkeypatch.setattr(pyramid_module, "_QUICK_CELLS", 1000)
    sampled = client.get("/secret/tile?layer=0&head=1&level=1&row=0&col=0")
    assert sampled.headers["x-heed-rows"] == "150/300"
    assert sampled.headers["cache-control"] == "no-store"
    exact = client.get("/secret/tile?layer=0&head=1&level=1&row=0&col=0&exact=1")
    assert exact.headers["x-heed-rows"] == "300/300"
    assert len(exact.content) == 150 * 150 * 2


def test_status_names_the_trace(client) -> None:
    assert client.get("/secret/status").json() == {"trace": SCENE.maps.identity, "busy": False, "progress": 1.0}


@pytest.mark.parametrize(
    "path", ["/", "/status", "/wrong/", "/wrong/status", f"/secre/{TILE}", f"/secret%20/{TILE}", "/sécret/"]
)
def test_without_the_token_there_is_nothing(client, path) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert SCENE.maps.identity not in answer.text


@pytest.mark.parametrize(
    "path", ["tile?layer=9&head=0&level=0&row=0&col=0", "tile?level=x", "row?layer=0&head=0&start=9&end=1"]
)
def test_what_is_not_there_is_not_found_and_said(client, path) -> None:
    answer = client.get(f"/secret/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("expected")


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("localhost.", 421),
        ("[::1", 421),
    ],
)
def test_only_requests_by_our_own_names_are_answered(client, host, code) -> None:
    """A page of the web that lets its name point to this machine is stopped by the name it calls us."""
    assert client.get("/secret/status", headers={"Host": host}).status_code == code


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nothing_can_be_changed(client, method) -> None:
    assert getattr(client, method)("/secret/status").status_code == 405


def test_it_can_be_mounted_in_another_application() -> None:
    with TestClient(Starlette(routes=[Mount("/view", app(SCENE))])) as client:
        assert client.get("/view/").status_code == 200
        assert client.get("/view/status").json()["trace"] == SCENE.maps.identity
        assert len(client.get(f"/view/{TILE}").content) == 256 * 256 * 4


def test_a_server_of_its_own_comes_back_at_the_same_address() -> None:
    with serve(SCENE) as first:
        url = first.url
        assert url.startswith("http://127.0.0.1:")
        assert url in repr(first)
        assert _get(url, "status").startswith(b"HTTP/1.1 200")
    port = int(url.split(":")[2].split("/")[0])
    with serve(SCENE, port=port) as second:
        assert second.url == url
        assert _get(url, "status").startswith(b"HTTP/1.1 200")
        with pytest.raises(InputError, match="expected a free port"):
            serve(SCENE, port=port)
    with serve(SCENE, token="mine") as third:
        assert third.url.endswith("/mine/")


def test_the_secret_behind_tokens_is_the_users_alone(tmp_path) -> None:
    with serve(SCENE):
        secret = tmp_path / "cache" / "serve.secret"
        assert secret.stat().st_mode & 0o777 == 0o600
        assert len(secret.read_bytes()) == 32
    (tmp_path / "cache" / "serve.secret").unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(StoreError, match="give a token yourself"):
        serve(SCENE)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_is_none_is_refused(port) -> None:
    with pytest.raises(InputError, match="expected a port in"):
        serve(SCENE, port=port)


def test_a_browser_that_goes_away_in_the_middle_ends_the_work(monkeypatch) -> None:
    coarse(monkeypatch)
    scene = scene_of(weights_of(129, 129))
    gate = Gate(scene.maps)
    with serve(replace(scene, maps=gate)) as served:
        browser = _ask(served.url, "tile?layer=0&head=0&level=5&row=0&col=0&exact=1")
        assert gate.begun.wait(10)
        assert b'"busy":true' in _get(served.url, "status")
        browser.close()
        time.sleep(0.1)  # until the server has seen it
        gate.open.set()
        _until(lambda: b'"busy":false' in _get(served.url, "status"))
        assert gate.blocks <= 2
        assert _get(served.url, "tile?layer=0&head=0&level=0&row=0&col=0").startswith(b"HTTP/1.1 200")


def test_ending_the_server_does_not_wait_for_long_work() -> None:
    gate = Gate(SCENE.maps)
    served = serve(replace(SCENE, maps=gate))
    browser = _ask(served.url, TILE)
    assert gate.begun.wait(10)
    started = time.monotonic()
    threading.Timer(0.2, gate.open.set).start()
    served.close()
    assert time.monotonic() - started < 5
    browser.close()


def _ask(url: str, path: str) -> socket.socket:
    _, _, where, token, _ = url.split("/")
    host, port = where.split(":")
    browser = socket.create_connection((host, int(port)), timeout=10)
    browser.sendall(f"GET /{token}/{path} HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode())
    return browser


def _get(url: str, path: str) -> bytes:
    with _ask(url, path) as browser, browser.makefile("rb") as answer:
        return answer.read()


def _until(holds, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
