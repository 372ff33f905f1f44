"""The viewer in a browser, as tests see it, and the walk through it that every host must pass."""

import json
import re
from typing import Any

import pytest

from mapped import scene_of, weights_of

PATIENCE_MS = 60_000
WEIGHTS = weights_of(700, 700, heads=3, layers=2)
SCENE = scene_of(WEIGHTS)


class Viewer:
    """A page with the viewer in it, and what went over its wire and its console."""

    def __init__(self, page: Any) -> None:
        self.page, self.requests, self.complaints = page, list[str](), list[str]()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    @property
    def root(self) -> Any:
        return self.page.locator(".heed").first

    @property
    def canvas(self) -> Any:
        return self.page.locator(".heed canvas").first

    def open(self, url: str) -> "Viewer":
        self.page.goto(url)
        return self.settle()

    def settle(self) -> "Viewer":
        """Wait until nothing is awaited any more."""
        self.root.wait_for()
        self.until("element => element.__heed.idle() && element.dataset.pending === '0'")
        return self

    def until(self, holds: str) -> None:
        """Wait until a function of the viewer's element says true."""
        handle = self.root.element_handle()
        self.page.wait_for_function(f"element => ({holds})(element)", arg=handle)

    def data(self, name: str) -> str:
        return str(self.root.get_attribute(f"data-{name}"))

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.root.evaluate("element => JSON.stringify(element.__heed.state())"))
        return found

    def pixels(self) -> int:
        """How many pixels of the canvas are painted in other than its commonest colour."""
        script = """canvas => {
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const counts = new Map();
            for (let i = 0; i < data.length; i += 4) {
                const colour = data[i] << 16 | data[i + 1] << 8 | data[i + 2];
                counts.set(colour, (counts.get(colour) ?? 0) + 1);
            }
            return data.length / 4 - Math.max(...counts.values());
        }"""
        return int(self.canvas.evaluate(script))

    def zoom_in(self) -> None:
        """By wheel, at a place below the diagonal, until single weights can be told apart."""
        box = self.canvas.bounding_box()
        self.canvas.hover(position={"x": box["width"] * 0.3, "y": box["height"] * 0.8})
        for _ in range(6):
            self.page.mouse.wheel(0, -400)
            self.settle()


def walk(viewer: Viewer) -> None:
    """Zoom, hover, layers, heads, views and keys, with the numbers that must be read there."""
    page, canvas = viewer.page, viewer.canvas
    assert viewer.pixels() > 10_000
    assert viewer.data("view") == "map"
    viewer.root.get_by_label("Layer", exact=True).select_option("0")
    viewer.root.get_by_label("Head", exact=True).select_option("2")
    viewer.settle()
    assert (viewer.data("layer"), viewer.data("head")) == ("0", "2")

    assert viewer.data("level") != "0"
    viewer.zoom_in()
    assert viewer.data("level") == "0"
    box = canvas.bounding_box()
    where = {"x": box["width"] * 0.3 + 2, "y": box["height"] * 0.8 + 2}
    canvas.hover(position=where)
    tip = viewer.root.locator(".tip")
    tip.wait_for()
    tip.get_by_text("rank").wait_for()
    value, row, key, rank = (line.strip() for line in tip.inner_text().splitlines() if line.strip())
    r, k = (int(re.findall(r"[\d,]+", line)[0].replace(",", "")) for line in (row, key))
    weights = WEIGHTS[0, 2, r]
    assert f"t{r}" in row
    assert f"t{k}" in key
    assert float(value.replace("−", "-").rstrip("%")) == pytest.approx(float(weights[k]), rel=0.06)
    place = 1 + int((weights[: r + 1] > weights[k]).sum())
    assert rank == f"rank {place} of {r + 1} keys"

    canvas.click(position=where)
    viewer.settle()
    assert (viewer.state["from"], viewer.state["key"]) == (r, k)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    viewer.settle()
    assert (viewer.state["from"], viewer.state["key"]) == (r + 1, k - 1)
    page.keyboard.press("0")
    viewer.until("element => element.dataset.level !== '0'")  # drawn in the next frame
    viewer.settle()
    for number, view in ((3, "tokens"), (2, "heads"), (1, "map")):
        viewer.root.focus()
        page.keyboard.press(str(number))
        viewer.settle()
        assert viewer.data("view") == view
    assert viewer.state["from"] == r + 1, "what is chosen stays chosen in every view"
