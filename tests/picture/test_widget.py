"""The widget's messages: what is answered, what is called off, and how many bytes go over the wire."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from heed.picture import widget as widget_module
from heed.picture.desk import Desk
from heed.picture.widget import Messages, widget
from mapped import Gate, coarse, scene_of, weights_of

WEIGHTS = weights_of(1024, 1024, heads=1)
SCENE = scene_of(WEIGHTS)
TILE = {"type": "ask", "what": "tile", "layer": 0, "head": 0, "level": 0, "row": 3, "col": 0, "exact": True}


class Page:
    """The other end: sends messages, keeps what comes back."""

    def __init__(self, scene: Any) -> None:
        self.desk, self.got, self._came = Desk(scene), list[tuple[dict[str, Any], list[bytes]]](), threading.Condition()
        self.tell = Messages(self.desk, self._take)

    def _take(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        with self._came:
            self.got.append((message, buffers))
            self._came.notify_all()

    def ask(self, **more: Any) -> None:
        self.tell(None, TILE | more, [])

    def wait(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.got) >= count, 10)

    @property
    def nbytes(self) -> int:
        return sum(len(buffer) for _, buffers in self.got for buffer in buffers)


@pytest.fixture
def page():
    made = Page(SCENE)
    yield made
    made.desk.close()


def test_an_answer_carries_its_number_and_its_bytes(page) -> None:
    page.ask(id=7)
    page.wait(1)
    message, (body,) = page.got[0]
    assert message == {"type": "answer", "id": 7, "rows_read": 256, "rows_total": 256}
    np.testing.assert_array_equal(np.frombuffer(body, "<f4").reshape(256, 256), WEIGHTS[0, 0, 768:, :256])


@pytest.mark.parametrize("message", [{"what": "no"}, {"layer": 8}, {"level": "x"}, {"what": "row"}])
def test_a_wrong_question_is_answered_with_the_reason(page, message) -> None:
    page.ask(id=1, **message)
    page.wait(1)
    answer, buffers = page.got[0]
    assert answer["error"].startswith("expected")
    assert buffers == []


@pytest.mark.parametrize(
    "message",
    [
        None,
        "ask",
        {},
        {"type": "ask"},
        {"type": "ask", "id": "x"},
        {"type": "cancel", "id": 4},
        {"type": "cancel", "id": []},
    ],
)
def test_other_messages_are_not_for_us(page, message) -> None:
    page.tell(None, message, [])
    page.ask(id=2)
    page.wait(1)
    assert [message["id"] for message, _ in page.got] == [2]


def test_bytes_are_in_proportion_to_what_is_visible(page) -> None:
    """The whole map is 4 MB; a screen of it costs the tiles that it shows, and an overview one tile."""
    page.ask(id=0, level=2, row=0)
    page.wait(1)
    assert page.nbytes == 256 * 256 * 2
    for number in range(1, 5):
        page.ask(id=number, row=(number - 1) // 2, col=(number - 1) % 2)
    page.wait(5)
    assert page.nbytes == 256 * 256 * 2 + 4 * 256 * 256 * 4
    for number, start in enumerate((5, 900)):
        page.ask(id=10 + number, what="row", start=start, end=start + 1)
    page.wait(7)
    assert page.nbytes == 256 * 256 * 2 + 4 * 256 * 256 * 4 + 2 * 1024 * 4


def test_what_is_called_off_is_never_sent(monkeypatch) -> None:
    coarse(monkeypatch)
    scene = scene_of(weights_of(129, 129))
    gate = Gate(scene.maps)
    page = Page(replace(scene, maps=gate))
    page.ask(id=1, level=5, row=0)
    assert gate.begun.wait(10)
    page.tell(None, {"type": "cancel", "id": 1}, [])
    gate.open.set()
    page.ask(id=2, row=0)
    page.wait(1)
    page.desk.close()
    assert [message["id"] for message, _ in page.got] == [2]
    assert gate.blocks <= 3


def test_in_an_event_loop_answers_are_sent_in_its_thread_and_progress_is_told(monkeypatch) -> None:
    coarse(monkeypatch)
    monkeypatch.setattr(widget_module, "_TELL_S", 0.01)
    scene = scene_of(weights_of(129, 129))
    gate = Gate(scene.maps)
    sent: list[tuple[dict[str, Any], int]] = []

    async def host() -> None:
        desk = Desk(replace(scene, maps=gate))
        messages = Messages(desk, lambda message, _: sent.append((message, threading.get_ident())))
        messages(None, TILE | {"id": 1, "level": 5, "row": 0}, [])
        await _until(lambda: len(sent) >= 3)
        gate.open.set()
        await _until(lambda: any(message["type"] == "answer" for message, _ in sent))
        await _until(lambda: not sent[-1][0].get("busy", True) or sent[-1][0]["type"] == "answer")
        await asyncio.sleep(0.05)
        desk.close()

    asyncio.run(host())
    told = [message for message, _ in sent if message["type"] == "status"]
    assert told[0] == {"type": "status", "busy": True, "progress": 0.0}
    assert told[-1] == {"type": "status", "busy": False, "progress": 1.0}
    assert {thread for _, thread in sent} == {threading.get_ident()}


def test_the_widget_holds_the_scene_and_the_viewer() -> None:
    pytest.importorskip("anywidget", reason="needs the extra `notebook`")
    shown = widget(SCENE, height=300)
    assert shown.scene["n_rows"] == 1024
    assert (shown.state, shown.height) == ("", 300)
    assert "export" in shown._esm
    assert len(shown.get_state()["scene"]["tokens"]) == 1024
    shown.close()


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError
