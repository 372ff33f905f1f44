"""The tile server as an ASGI application: the page of one scene, and exact numbers for it, as far as somebody looks.

Comes in: a scene, HTTP requests. Goes out: the page, the viewer, binary numbers, whose computation is called off when
the browser goes away. What is asked and answered: docs/viewer.md, section 3.4. Requests under another name (`Host`)
are refused, so that a page of the web cannot reach the server by letting its own name point here.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from heed.errors import InputError
from heed.extras import require
from heed.picture.asks import WHATS, Reply
from heed.picture.desk import BusyError, Desk, Job
from heed.picture.maps import StoppedError
from heed.picture.viewer_page import viewer_page, viewer_script
from heed.picture.viewer_scene import viewer_scene
from heed.text.attention import AttentionScene

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Handler = Callable[["Request"], Coroutine[Any, Any, "Response"]]

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOREVER, _NEVER = "private, max-age=31536000, immutable", "no-store"


def app(scene: AttentionScene, *, token: str = "", hosts: Sequence[str] | None = None) -> "Starlette":
    """The ASGI application; all its addresses are relative, so that it can be mounted anywhere.

    Parameters
    ----------
    token
        First part of every address; without one whoever mounts the application decides who may see it.
    hosts
        Names by which it may be called beside IP addresses; None: any.

    Raises
    ------
    ExtraMissingError
        Without the extra ``serve``.
    """
    applications = require("starlette.applications", extra="serve")
    routing = require("starlette.routing", extra="serve")
    middleware = require("starlette.middleware", extra="serve")
    desk = Desk(scene)
    routes = [routing.Route(f"/{name}", handler) for name, handler in _handlers(scene, desk).items()]
    if token:
        check = middleware.Middleware(_TokenChecked, token=token)
        routes = [routing.Mount("/{token}", routes=routes, middleware=[check])]

    @asynccontextmanager
    async def life(_: Any) -> AsyncIterator[None]:
        yield
        desk.close()

    made: Starlette = applications.Starlette(
        routes=routes, lifespan=life, middleware=[middleware.Middleware(_HostChecked, hosts=hosts)]
    )
    made.state.desk = desk
    return made


def _handlers(scene: AttentionScene, desk: Desk) -> dict[str, Handler]:
    responses = require("starlette.responses", extra="serve")
    identity = scene.maps.identity
    shown = viewer_page(viewer_scene(scene), remote=("./", identity))

    async def page(_: "Request") -> "Response":
        return responses.HTMLResponse(shown, headers={"Cache-Control": _NEVER})  # type: ignore[no-any-return]

    async def viewer(_: "Request") -> "Response":
        kind = {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"}
        return responses.Response(viewer_script(), headers=kind)  # type: ignore[no-any-return]

    async def status(_: "Request") -> "Response":
        busy, progress = desk.status()
        found = {"trace": identity, "busy": busy, "progress": progress}
        return responses.JSONResponse(found, headers={"Cache-Control": _NEVER})  # type: ignore[no-any-return]

    def numbers(what: str) -> Handler:
        async def answer(request: "Request") -> "Response":
            try:
                reply = await _awaited(desk.ask(what, request.query_params), request)
            except InputError as error:
                return _refused(404, str(error))
            except (BusyError, StoppedError) as error:
                return _refused(503, str(error) or "stopped")
            headers = {
                "Cache-Control": _FOREVER if reply.exact else _NEVER,
                "X-Heed-Rows": f"{reply.rows_read}/{reply.rows_total}",
            }
            return responses.Response(  # type: ignore[no-any-return]
                reply.body, media_type="application/octet-stream", headers=headers
            )

        return answer

    return {"": page, "viewer.js": viewer, "status": status} | {what: numbers(what) for what in WHATS}


def _refused(code: int, why: str) -> "Response":
    responses = require("starlette.responses", extra="serve")
    return responses.JSONResponse({"error": why}, code, {"Cache-Control": _NEVER})  # type: ignore[no-any-return]


async def _awaited(job: Job, request: "Request") -> Reply:
    """The answer; the work is called off as soon as the browser is gone."""
    answer: asyncio.Future[Any] = asyncio.wrap_future(job.future)
    gone: asyncio.Future[Any] = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise StoppedError
        reply: Reply = answer.result()
        return reply
    finally:
        gone.cancel()
        job.call_off()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())


async def _gone(request: "Request") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _HostChecked:
    """Refuses requests by a foreign name, and adds the headers that every answer carries."""

    def __init__(self, app: "ASGIApp", hosts: Sequence[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._hosts is None or _is_ours(dict(scope["headers"]).get(b"host", b"").decode("latin-1"), self._hosts):
            await self._app(scope, receive, send_with_headers)
        else:
            await _refused(421, "this server is not called by that name")(scope, receive, send_with_headers)


class _TokenChecked:
    """Answers "not found" to whoever does not know the token."""

    def __init__(self, app: "ASGIApp", token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        given = scope["path_params"]["token"].encode()
        if hmac.compare_digest(given, self._token.encode()):
            await self._app(scope, receive, send)
        else:
            await _refused(404, "not found")(scope, receive, send)


def _is_ours(header: str, hosts: Sequence[str]) -> bool:
    """Whether a Host header names this server: one of the names, or an address, which no foreign page can take."""
    name = header.rpartition("]")[0].removeprefix("[") if header.startswith("[") else header.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return name.lower() in {host.lower() for host in hosts}
    return True
