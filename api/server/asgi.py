"""ASGI middleware between the server and the application."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.http.errors import error_object
from api.server.scope import ABORT
from shared.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

_SHOWN_CHARACTERS: Final = 200
_PLAIN_HOST: Final = re.compile(rb"(?:[-\w]{1,63}\.)*[-\w]{0,63}(?::[0-9]*)?")


class Connections:
    """ASGI middleware that lets a request abort its connection, and refuses WebSockets and hosts that are no names.

    Args:
        app: what it wraps.
        abort: aborts the connection behind an ASGI `send` of Hypercorn's.
    """

    def __init__(self, app: Callable[..., Coroutine[Any, Any, None]], abort: Callable[[Any], None]) -> None:
        self._app = app
        self._abort = abort

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the app with the means to abort the connection in its scope; a WebSocket does not get that far."""
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, send)
            return
        if scope["type"] == "http":
            if not _has_host(scope["headers"]):
                await _refuse_host(send)
                return
            if ABORT not in scope:
                scope[ABORT] = partial(self._abort, send)
        await self._app(scope, receive, send)


def _has_host(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether the host of a request can be one: Werkzeug fails on others before there is a request."""
    host = next((value for name, value in headers if name == b"host"), b"")
    if _PLAIN_HOST.fullmatch(host):
        return True
    try:
        # As Werkzeug does it, which raises where this does.
        return bool(host.decode("latin-1").partition(":")[0].encode("idna"))
    except UnicodeError:
        return False


async def _refuse_host(send: Any) -> None:
    body = msgspec.json.encode({"error": error_object(InvalidRequest("The host of the request is malformed."))})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": InvalidRequest.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse_websocket(scope: Any, send: Any) -> None:
    """Answer a WebSocket upgrade with a 404: no URL of ours has one."""
    error = NotFound(f"There is no WebSocket at {scope['path'][:_SHOWN_CHARACTERS]}.")
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    body = msgspec.json.encode({"error": error_object(error)})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
