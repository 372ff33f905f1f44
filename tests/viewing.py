"""The viewer in a browser, as tests see it, and the walk through it that every host must pass."""

import json
import re
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np
import pytest

from heed.text.attention import Flow, Grounds, NamedSpan
from heed.text.evidence import Evidence, Passage, Scene, WeightedSpan
from heed.text.span import CharSpan, TokenSpan
from mapped import scene_of, weights_of

PATIENCE_MS = 60_000
WEIGHTS = weights_of(700, 700, heads=3, layers=2)
SPANS = (NamedSpan("system", 0, 300), NamedSpan("data", 300, 700))
MASS = np.array([np.nan_to_num(WEIGHTS)[:, :, span.start : span.end].mean(2) for span in SPANS])
MASS = np.stack([MASS[..., span.start : span.end].sum(-1) for span in SPANS], -1).transpose(1, 2, 0, 3)
"""Of each layer, head and span the share of its rows' attention that goes to each span, ``[2, 3, 2, 2]``."""


def _scene() -> Any:
    """Maps of 700 tokens with all that a page can show: flow, and evidence that marks the tokens 605 and 606."""
    text = "".join(f" t{place}" for place in range(600, 610))
    mark = WeightedSpan(CharSpan(25, 35), 0.5)
    said = Scene("Verdict", "Injection", "bad", (Passage("data", Evidence(text, (mark,)), "share"),), risk=(0.9, 0.5))
    return replace(
        scene_of(WEIGHTS),
        spans=SPANS,
        flow=Flow(("system", "data"), (0, 1), MASS, None, 700, 700),
        grounds=Grounds(said, (TokenSpan(600, 610),), ((TokenSpan(605, 607),),)),
    )


SCENE = _scene()


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
        """Wait until a function of the viewer's element says true.

        It is asked again from here: the page's own policy forbids Playwright to evaluate it there a second time.
        """
        patience = monotonic() + PATIENCE_MS / 1000
        while not self.root.evaluate(holds):
            assert monotonic() < patience, f"expected to hold within {PATIENCE_MS} ms: {holds}"
            self.page.wait_for_timeout(20)

    def turn(self, number: int) -> None:
        """Open a view by its number on the keyboard."""
        self.root.focus()
        self.page.keyboard.press(str(number))
        self.settle()

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

    def hidden_colour(self) -> list[int]:
        """Red, green and blue of a place above the diagonal, where no weight is."""
        right = "canvas => [...canvas.getContext('2d').getImageData(canvas.width * 0.6, canvas.height / 2, 1, 1).data]"
        *colour, opaque = self.canvas.evaluate(right)
        assert opaque == 255
        return colour

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
    for number, view in enumerate(("evidence", "map", "heads", "tokens", "flow"), 1):
        viewer.turn(number)
        assert viewer.data("view") == view
    assert viewer.state["from"] == r + 1, "what is chosen stays chosen in every view"
    read_flow(viewer)
    follow_evidence(viewer)
    search_and_drag(viewer)
    discount_sinks(viewer)


def read_flow(viewer: Viewer) -> None:
    """The shares of the data's rows; a bar opens its layer, and the arrow keys the one beside it."""
    viewer.turn(5)
    viewer.root.locator(".flow figure").nth(len(SPANS) - 1).wait_for()
    assert viewer.root.locator(".flow figure").count() == len(SPANS)
    bar = viewer.root.get_by_label("layer 1: system").nth(1)
    bar.click()
    viewer.until("element => element.dataset.layer === '1'")
    viewer.settle()
    shares = [float(share) for share in re.findall(r"(?:system|data) ([\d.]+)", bar.get_attribute("aria-label"))]
    assert shares == pytest.approx(MASS[1, :, 1].mean(0), rel=0.01)
    viewer.root.locator(".flow figure").nth(1).locator("g.open").focus()
    viewer.page.keyboard.press("ArrowLeft")
    viewer.until("element => element.dataset.layer === '0'")
    viewer.settle()


def follow_evidence(viewer: Viewer) -> None:
    """A mark chooses its tokens in every view."""
    viewer.turn(1)
    viewer.root.locator(".verdict .headline", has_text=re.compile("Injection$")).wait_for()
    mark = viewer.root.locator(".evidence mark")
    assert mark.inner_text() == " t605 t606"
    mark.click()
    viewer.settle()
    viewer.root.locator('.evidence mark[aria-pressed="true"]').wait_for()
    assert (viewer.state["from"], viewer.state["to"], viewer.state["key"]) == (605, 607, 605)


def search_and_drag(viewer: Viewer) -> None:
    """A token is found by its text; rows are chosen by dragging over the text."""
    viewer.turn(4)
    viewer.page.keyboard.press("/")
    viewer.page.keyboard.type("t650")
    viewer.page.keyboard.press("Enter")
    viewer.settle()
    viewer.root.locator(".found", has_text="1 of 1").wait_for()
    assert (viewer.state["from"], viewer.state["to"], viewer.state["key"]) == (650, 651, 650)
    viewer.root.locator("#heed-token-652").hover()
    viewer.page.mouse.down()
    viewer.root.locator("#heed-token-660").hover()
    viewer.page.mouse.up()
    viewer.settle()
    assert (viewer.state["from"], viewer.state["to"]) == (652, 661)
    viewer.root.locator(".tokens .help", has_text="Tokens 652 to 660 attend to").wait_for()  # drawn in the next frame
    assert viewer.root.locator('.tokens [aria-selected="true"]').count() == 9


def discount_sinks(viewer: Viewer) -> None:
    """The first key is left out, and the page says so."""
    viewer.root.get_by_label("Discount sinks").check()
    viewer.turn(2)
    viewer.root.get_by_text("sinks left out: 1 of 700 keys").first.wait_for()
    assert viewer.state["sinks"] == "drop"
    assert viewer.pixels() > 10_000


def reload(viewer: Viewer) -> None:
    """What was looked at, its address gives back; in the dark the page is drawn anew."""
    viewer.until("() => location.hash.includes('sinks=drop') && location.hash.includes('query=t650')")
    before, light = viewer.state, viewer.hidden_colour()
    viewer.page.emulate_media(color_scheme="dark")
    viewer.page.reload()
    viewer.settle()
    assert viewer.state == approximately(before)
    assert viewer.data("theme") == "dark"
    assert min(light) > 200
    assert max(viewer.hidden_colour()) < 80
    assert viewer.pixels() > 10_000


def approximately(state: dict[str, Any]) -> dict[str, Any]:
    """The state as an address gives it back: where the map is, is rounded."""
    return {
        name: pytest.approx(value, abs=1e-3) if name in {"x", "y", "zoom"} else value for name, value in state.items()
    }
