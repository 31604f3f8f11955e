"""The one file that knows Hypercorn from inside, for what ASGI and its settings have no way to say.

Aborting a connection: a client that does not read would otherwise keep its connection, and what is
buffered for it, for as long as it likes, since closing a transport waits until everything is written.

Closing a connection: Hypercorn keeps one that its client has closed until the keep-alive time is over,
so that many short connections use up the file descriptors.

Stopping: when its graceful time-out is over, Hypercorn cancels the tasks of connections, and asyncio reports each as
a failed callback. So we abort them before that.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import hypercorn.asyncio.run
import msgspec
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config, Sockets
from hypercorn.protocol.h11 import H11Protocol

from api.http.errors import error_object
from shared.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ABORT: Final = "claw.abort"
"""The key in an ASGI scope under which a request finds the function that aborts its connection."""
_SHOWN_CHARACTERS: Final = 200
_UNACKNOWLEDGED_MS: Final = 30_000
_NO_LINGERING: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: the kernel drops what was not sent, too."""


class Connections:
    """ASGI middleware that lets a request abort its connection, and refuses WebSockets."""

    def __init__(self, app: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the app with the means to abort the connection in its scope; a WebSocket does not get that far."""
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, send)
            return
        if scope["type"] == "http":
            scope[ABORT] = partial(_abort, send)
        await self._app(scope, receive, send)


async def _refuse_websocket(scope: Any, send: Any) -> None:
    """Answer a WebSocket upgrade with a 404: no URL of ours has one."""
    error = NotFound(f"There is no WebSocket at {scope['path'][:_SHOWN_CHARACTERS]}.")
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    body = msgspec.json.encode({"error": error_object(error)})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def _abort(send: Any) -> None:
    """Abort the transport behind `send`: HTTPStream -> H11Protocol -> TCPServer. HTTP/2 streams share one."""
    protocol = getattr(getattr(getattr(send, "__self__", None), "send", None), "__self__", None)
    if isinstance(protocol, H11Protocol):
        server = getattr(protocol.send, "__self__", None)
        if isinstance(server, TCPServer):
            connection = server.writer.get_extra_info("socket")
            with suppress(OSError):  # it is closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            server.writer.transport.abort()


class PromptTCPServer(TCPServer):
    """Hypercorn's connection, which ends when its client has ended it, and can be aborted."""

    config: ServerConfig

    async def run(self) -> None:
        """Serve it to its end."""
        task = asyncio.current_task()
        if task is not None:
            self.config.connections[task] = self.writer.transport
            task.add_done_callback(self.config.connections.pop)
        await super().run()

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


def install() -> None:
    """Let Hypercorn use our connection class; it has no setting for that."""
    hypercorn.asyncio.run.TCPServer = PromptTCPServer  # type: ignore[attr-defined]


class ServerConfig(Config):
    """Hypercorn's configuration, with sockets that notice a client that vanished without a word.

    Attributes:
        connections: those that are open.
    """

    def __init__(self) -> None:
        self.connections: dict[asyncio.Task[Any], asyncio.WriteTransport] = {}
        super().__init__()

    def abort_connections(self) -> None:
        """Abort every connection: a request that still has one ends as if its client had left."""
        for transport in list(self.connections.values()):
            transport.abort()

    def create_sockets(self) -> Sockets:
        """Return the listening sockets; what they accept inherits their options."""
        sockets = super().create_sockets()
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            for listener in sockets.insecure_sockets:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
        return sockets
