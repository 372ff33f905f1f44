"""The viewer's page as one HTML document: with its numbers inside, or asking a server for them.

Comes in: a scene and numbers as JSON-ready values (docs/viewer.md). Goes out: the document as a string, under a
content-security policy that lets it fetch nothing but what its server answers.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from heed.errors import StoreError
from heed.picture.visible import spelled

_BUNDLE = "viewer/heed-viewer.js"


def viewer_page(
    scene: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    *,
    remote: tuple[str, str] | None = None,
    instead: str = "",
) -> str:
    """The page of a scene.

    Parameters
    ----------
    scene
        From `heed.picture.viewer_scene.viewer_scene`.
    data
        The numbers, for a page that stands alone; from `heed.picture.export.embedded`.
    remote
        For a page that asks a server: the base of its requests and the id of its trace. The server hands out the
        bundle as ``viewer.js`` below that base.
    instead
        Text for whoever runs no scripts.

    Raises
    ------
    StoreError
        If the viewer was not built.
    """
    bundle = viewer_script()
    source = 'data-heed-source="embedded"'
    policy = f"default-src 'none'; script-src 'sha256-{_digest(bundle)}'"
    script = f'<script type="module">{bundle}</script>'
    if remote is not None:
        base, trace = (escape(value) for value in remote)
        source = f'data-heed-source="remote" data-heed-url="{base}" data-heed-trace="{trace}"'
        policy = "default-src 'none'; script-src 'self'; connect-src 'self'"
        script = f'<script type="module" src="{base}viewer.js"></script>'
    parts = [f'<script type="application/json" id="heed-scene">{script_json(scene)}</script>']
    if data is not None:
        parts.append(f'<script type="application/json" id="heed-data">{script_json(data)}</script>')
    return _DOCUMENT.format(
        policy=f"{policy}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        title=escape(spelled(str(scene["title"]))),
        source=source,
        instead=escape(instead),
        parts="\n".join([*parts, script]),
    )


def script_json(value: Any) -> str:
    """JSON for a script element: ASCII, and nothing in it that could end the element."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def viewer_script() -> str:
    """The viewer, one ES module.

    Raises
    ------
    StoreError
        If it was not built.
    """
    try:
        return files("heed.picture").joinpath(_BUNDLE).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StoreError(
            f"expected the viewer at heed/picture/{_BUNDLE}, found none: build it (`make web`) or install heed again"
        ) from error


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
</head>
<body>
<div id="heed" {source}></div>
<noscript><pre dir="auto">{instead}</pre></noscript>
{parts}
</body>
</html>
"""
