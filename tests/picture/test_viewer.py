"""The committed viewer is what web/src builds, and its tests hold it against today's numbers. Node is not needed."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import viewer_numbers

WEB = Path(__file__).parents[2] / "web"
MOST_BYTES = 120_000


def bundle() -> str:
    return (files("heed.picture") / "viewer" / "heed-viewer.js").read_text("ascii")


def pinned(text: str) -> str:
    """What `web/build.mjs` writes beside a bundle, as `sha256sum --check` reads it."""
    return f"{hashlib.sha256(text.encode()).hexdigest()}  heed-viewer.js\n"


def sources(folder: Path) -> str:
    """SHA-256 over name, NUL, content, NUL of every file, in the order of names; `web/build.mjs` does the same."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def test_the_bundle_was_built_from_these_sources():
    assert re.findall(r"\b[0-9a-f]{64}\b", bundle()) == [sources(WEB / "src")], "run: cd web && npm ci && npm run build"


def test_the_bundle_is_what_was_built_and_was_not_edited_since():
    written = (files("heed.picture") / "viewer" / "heed-viewer.js.sha256").read_text("ascii")
    assert written == pinned(bundle()), "run: cd web && npm ci && npm run build"
    assert written != pinned(bundle().replace("Attention", "attention", 1))


def test_a_changed_source_would_be_seen(tmp_path):
    for path in (WEB / "src").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert sources(tmp_path) == sources(WEB / "src")
    (tmp_path / "draw.ts").write_text("export {};\n")
    assert sources(tmp_path) != sources(WEB / "src")


def test_the_bundle_can_stand_in_a_page_and_is_small():
    text = bundle()
    assert len(text) <= MOST_BYTES
    assert not re.search(r"</script|<!--", text, re.IGNORECASE)
    assert not re.search(r"\b(?:eval|Function|Worker|importScripts|innerHTML|insertAdjacentHTML)\s*[(=]", text)
    assert set(re.findall(r"https?://[\w./-]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_bundle_exports_what_hosts_use():
    exported = re.search(r"export\{([^}]*)\}", bundle())
    assert exported is not None
    names = {part.split(" as ")[-1] for part in exported[1].split(",")}
    assert names == {"draw", "embedded", "over", "remote", "default", "SOURCES", "VERSION"}


def test_the_numbers_the_viewer_is_tested_with_are_those_of_today():
    written = json.loads(viewer_numbers.NUMBERS.read_text("utf-8"))
    assert (written["level"], written["sinks"]) == (viewer_numbers.LEVEL, viewer_numbers.SINKS)
    for found, wanted in zip(written["cases"], viewer_numbers.cases(), strict=True):
        assert found["factors"] == wanted["factors"] | {"lse": found["factors"]["lse"]}
        for name in ("map", "max", "mean", "dropped", "row", "column"):
            for one, other in zip(found[name], wanted[name], strict=True):
                assert np.array(one, float) == pytest.approx(np.array(other, float), rel=1e-5, abs=1e-12, nan_ok=True)
