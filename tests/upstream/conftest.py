"""A server of this process that speaks the OpenAI schema, with answers told beforehand."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from heed.model import Model, load
from tiny import tiny_folder


@dataclass
class Reply:
    """One answer of the server: its status, its body (a dict is sent as JSON), and how long it takes.

    With ``drip`` the body comes byte by byte, so many seconds between two.
    """

    status: int
    body: Any
    seconds: float = 0.0
    drip: float = 0.0
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def completion(content: str | None = "Ja.", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "big-model-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        **more,
    }


@dataclass
class Server:
    """What it will say, in order (the last reply is repeated), and what it was asked."""

    replies: list[Reply] = field(default_factory=lambda: [Reply(200, completion())])
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()
    halt = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.asked.append({"path": self.path, **json.loads(body)})
            told.headers.append({name.lower(): value for name, value in self.headers.items()})
            reply = told.replies.pop(0) if len(told.replies) > 1 else told.replies[0]
            if reply.seconds and halt.wait(reply.seconds):
                return
            raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            step = 1 if reply.drip else len(raw)
            with contextlib.suppress(ConnectionError):  # who asked may have gone
                for start in range(0, len(raw), step or 1):
                    self.wfile.write(raw[start : start + step])
                    if reply.drip and halt.wait(reply.drip):
                        return

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        told.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
        yield told
        halt.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Model:
    return load(tiny_folder(tmp_path_factory.mktemp("models") / "tiny"), dtype="float32")
