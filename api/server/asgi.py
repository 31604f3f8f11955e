"""ASGI middleware between the server and the application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.http.errors import error_object
from api.server.scope import ABORT
from shared.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_SHOWN_CHARACTERS: Final = 200


class Connections:
    """ASGI middleware that lets a request abort its connection, and refuses WebSockets.

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
        if scope["type"] == "http" and ABORT not in scope:
            scope[ABORT] = partial(self._abort, send)
        await self._app(scope, receive, send)


async def _refuse_websocket(scope: Any, send: Any) -> None:
    """Answer a WebSocket upgrade with a 404: no URL of ours has one."""
    error = NotFound(f"There is no WebSocket at {scope['path'][:_SHOWN_CHARACTERS]}.")
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    body = msgspec.json.encode({"error": error_object(error)})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
