"""The notebook widget: the same viewer, in Jupyter, VS Code, Colab and marimo.

Comes in: a scene. Goes out: an anywidget. The scene and the view's state are synced traits; numbers travel as binary
messages, as many as are visible: docs/viewer.md, section 3.5.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import finalize

from heed.errors import InputError
from heed.extras import require
from heed.picture.asks import Reply
from heed.picture.desk import BusyError, Desk, Job
from heed.picture.maps import StoppedError
from heed.picture.viewer_page import viewer_script
from heed.picture.viewer_scene import viewer_scene
from heed.text.attention import AttentionScene

_TELL_S = 0.5


def widget(scene: AttentionScene, *, height: int = 640) -> Any:
    """A scene as an anywidget; displaying it shows the viewer.

    Parameters
    ----------
    height
        CSS pixels.

    Raises
    ------
    ExtraMissingError
        Without the extra ``notebook``.
    """
    anywidget, traitlets = require("anywidget", extra="notebook"), require("traitlets", extra="notebook")

    class Viewer(anywidget.AnyWidget):  # type: ignore[misc, name-defined]
        """The viewer of one scene."""

        _esm = viewer_script()
        scene = traitlets.Dict().tag(sync=True)
        state = traitlets.Unicode("").tag(sync=True)
        height = traitlets.Int(640).tag(sync=True)

    shown = Viewer(scene=viewer_scene(scene), height=height)
    desk = Desk(scene)
    shown.on_msg(Messages(desk, shown.send))
    finalize(shown, desk.close)
    return shown


class Messages:
    """Answers the messages of one widget; what the page no longer waits for is called off.

    ``send`` is called with a message and its buffers, where an event loop runs always in its thread.
    """

    def __init__(self, desk: Desk, send: Callable[[dict[str, Any], list[bytes]], None]) -> None:
        self._desk, self._send = desk, send
        self._jobs: dict[int, Job] = {}
        self._telling = False

    def __call__(self, _: object, message: Any, buffers: Any = None) -> None:
        """Take a message: a question, or that an earlier one is called off; others are not for us."""
        del buffers
        kind, number = (message.get("type"), message.get("id")) if isinstance(message, dict) else (None, None)
        if not isinstance(number, int):
            return
        if kind == "ask":
            self._ask(number, message)
        elif kind == "cancel" and number in self._jobs:
            self._jobs.pop(number).call_off()

    def _ask(self, number: int, message: dict[str, Any]) -> None:
        try:
            job = self._desk.ask(str(message.get("what")), message)
        except (InputError, BusyError) as error:
            self._send({"type": "answer", "id": number, "error": str(error)}, [])
            return
        self._jobs[number] = job
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            job.future.add_done_callback(lambda _: self._answer(number, job))
            return
        job.future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._answer, number, job))
        if not self._telling and self._desk.status()[0]:
            self._telling = True
            self._tell(loop)

    def _answer(self, number: int, job: Job) -> None:
        if self._jobs.pop(number, None) is None:
            return
        error, buffers = job.future.exception(), list[bytes]()
        answer: dict[str, Any] = {"type": "answer", "id": number}
        if error is None:
            reply: Reply = job.future.result()
            answer |= {"rows_read": reply.rows_read, "rows_total": reply.rows_total}
            buffers = [reply.body]
        else:
            answer["error"] = "stopped" if isinstance(error, StoppedError) else str(error)
        self._send(answer, buffers)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say how far long work is, again and again until it is done."""
        self._telling, progress = self._desk.status()
        self._send({"type": "status", "busy": self._telling, "progress": progress}, [])
        if self._telling:
            loop.call_later(_TELL_S, self._tell, loop)
