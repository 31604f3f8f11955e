"""The one file that knows Hypercorn from inside, for what ASGI and its settings have no way to say.

Aborting a connection: a client that does not read would otherwise keep its connection, and what is
buffered for it, for as long as it likes, since closing a transport waits until everything is written.

Closing a connection: Hypercorn keeps one that its client has closed until the keep-alive time is over,
so that many short connections use up the file descriptors.

Noticing who leaves: Hypercorn reads nothing more from a client that has sent more than its request, and does not see it
go.

Stopping: when its graceful time-out is over, Hypercorn cancels the tasks of connections, and asyncio reports each as
a failed callback. So we abort them before that. It closes its listener at once: what the kernel has accepted and nobody
has taken yet is reset, so new connections are kept away for a moment before.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import h11
import hypercorn.asyncio.run
import msgspec
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.config import Config, Sockets
from hypercorn.events import Closed
from hypercorn.protocol.h11 import H11Protocol

from api.http.errors import error_object
from shared.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ABORT: Final = "claw.abort"
"""The key in an ASGI scope under which a request finds the function that aborts its connection."""
_SHOWN_CHARACTERS: Final = 200
_PIPELINED_BYTES: Final = 1024 * 1024
"""How much a client may send behind a request that is being answered."""
_UNACKNOWLEDGED_MS: Final = 30_000
_NO_LINGERING: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: the kernel drops what was not sent, too."""
_SO_ATTACH_FILTER: Final = 26
"""Linux (asm-generic/socket.h)."""
_NO_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    # Load the octet of TCP's flags; if SYN is set go on, else jump over one; drop the packet; keep all of it.
    for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
"""A filter (linux/filter.h) that drops packets which ask for a new connection, and no others."""


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
                # Without it the kernel would go on sending what the client does not read.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            server.writer.transport.abort()


class _EndedConnection:
    """The h11 connection of a client that has left: nothing more comes of it."""

    they_are_waiting_for_100_continue = False

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def next_event(self) -> Any:
        """Return that there is no event."""
        return h11.NEED_DATA

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _PipelinedReading:
    """Stands for the event that Hypercorn waits for, with more bytes at hand, until a response has ended.

    It reads on meanwhile, so that the request ends when its client leaves, and lets nobody send without bound.

    Args:
        server: the connection.
        protocol: its protocol.
    """

    def __init__(self, server: TCPServer, protocol: H11Protocol) -> None:
        self._server = server
        self._protocol = protocol
        self._event = asyncio.Event()

    async def set(self) -> None:
        """Wake whoever waits: the response has ended."""
        self._event.set()

    async def clear(self) -> None:
        """Make the next wait wait."""
        self._event.clear()

    def is_set(self) -> bool:
        """Return whether the response has ended."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the response has ended, or its client has left."""
        waiting = asyncio.ensure_future(self._event.wait())
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({waiting, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            reading.cancel()
        if not self._event.is_set():
            self._server.writer.transport.abort()
            # As Hypercorn does where it reads the end of a connection itself.
            await self._protocol.handle(Closed())
            self._protocol.connection = cast("h11.Connection", _EndedConnection(self._protocol.connection))

    async def _read(self) -> None:
        """Keep what comes; return when the client has left, or has sent too much."""
        kept = 0
        with suppress(OSError):
            while kept <= _PIPELINED_BYTES and (received := await self._server.reader.read(MAX_RECV)):
                self._protocol.connection.receive_data(received)
                kept += len(received)


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
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol):
            # Hypercorn stops reading while a response is under way, and so never sees that its client has left.
            protocol.can_read = _PipelinedReading(self, protocol)
        await super()._read_data()
        # The client has closed: without this the connection would stay until the keep-alive time is over.
        await self.idle_task.stop()


def install() -> None:
    """Let Hypercorn use our connection class; it has no setting for that."""
    hypercorn.asyncio.run.TCPServer = PromptTCPServer  # type: ignore[attr-defined]


class ServerConfig(Config):
    """Hypercorn's configuration, with sockets that notice a client that vanished without a word.

    Attributes:
        connections: those that are open.
        is_draining: whether each response shall be the last of its connection.
        processes: how many listen at the same address; the kernel deals new connections out to them.
    """

    def __init__(self) -> None:
        self.connections: dict[asyncio.Task[Any], asyncio.WriteTransport] = {}
        self.is_draining = False
        self.processes = 1
        self._sockets: Sockets | None = None
        super().__init__()

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return what every response has, its errors too."""
        closing = [(b"connection", b"close")] if self.is_draining and protocol == "h11" else []
        return super().response_headers(protocol) + closing

    def abort_connections(self) -> None:
        """Abort every connection: a request that still has one ends as if its client had left."""
        for transport in list(self.connections.values()):
            transport.abort()

    def bind_sockets(self) -> Sockets:
        """Return the bound sockets, always the same; what they accept inherits their options.

        Raises:
            OSError: another program listens there, or nobody can.
        """
        if self._sockets is None:
            # Only here: Hypercorn warns of processes that it shall not start.
            self.workers = self.processes
            self._sockets = super().create_sockets()
            self.workers = 1
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                for listener in self._sockets.insecure_sockets:
                    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
        return self._sockets

    def create_sockets(self) -> Sockets:
        """Return the listening sockets: Hypercorn asks for them when the app has started.

        Raises:
            OSError: another program has begun to listen there since they were bound.
        """
        sockets = self.bind_sockets()
        for listener in sockets.insecure_sockets:
            # uvloop would do it, but report a failure as a bad file descriptor.
            listener.listen(self.backlog)
        return sockets

    def ignore_new_connections(self) -> None:
        """Let nobody begin a connection any more; one that begins is completed, and can be accepted.

        Whoever tries hears nothing, tries again after a second, as TCP does, and is refused once the listener is
        closed: a balancer then takes another server, which it would not do with a connection that is reset.
        """
        program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
        filter_of = struct.pack("HP", len(_NO_SYN) // struct.calcsize("HBBI"), ctypes.addressof(program))
        for listener in self.bind_sockets().insecure_sockets:
            with suppress(OSError):  # no Linux: a connection may be reset in the moment of closing
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_of)
