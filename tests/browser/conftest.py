"""Real browsers: skipped, with the reason, where there is no Chromium or no Playwright.

Screenshots of every test go to build/screenshots.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from viewing import Viewer

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
)
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for the tests of a file: Playwright's loop must end before other files run loops of their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (the dev group)")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def viewer(chromium, request) -> Iterator[Viewer]:
    """A fresh page; afterwards: no error on its console, and nothing fetched from elsewhere."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    watched = Viewer(context.new_page())
    yield watched
    if not watched.page.is_closed():
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        watched.page.screenshot(path=SCREENSHOTS / f"{request.node.path.stem}-{request.node.name}.png")
    context.close()
    foreign = [url for url in watched.requests if not url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:"))]
    assert foreign == []
    assert watched.complaints == []


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HEED_CACHE_DIR", str(tmp_path / "cache"))
