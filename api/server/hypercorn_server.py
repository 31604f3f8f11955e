"""Hypercorn's internals, for what ASGI and its settings have no way to say; so does `http2.py`.

Aborting a connection: a client that does not read would otherwise keep its connection, and what is
buffered for it, for as long as it likes, since closing a transport waits until everything is written.

Closing a connection: Hypercorn keeps one that its client has closed until the keep-alive time is over,
so that many short connections use up the file descriptors.

Noticing who leaves: Hypercorn reads nothing more from a client that has sent more than its request, and does not see it
go.

Stopping: when its graceful time-out is over, Hypercorn cancels the tasks of connections, and asyncio reports each as
a failed callback. So we abort them before that. It closes its listener at once: what the kernel has accepted and nobody
has taken yet is reset, so new connections are kept away for a moment before (`ServerConfig`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import h11
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from api.server import http2
from api.server.closing import abort
from api.server.connection import PIPELINED_BYTES, Http1Connection
from api.server.http2 import PIECE_BYTES, SteadyH2Protocol
from api.server.turns import CHUNKS_A_TURN

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from api.server.config import ServerConfig

_EVERYTHING: Final = 1024 * 1024
"""More than a reader keeps."""


def abort_behind(send: Any) -> None:
    """Abort the transport behind `send`: HTTPStream -> H11Protocol -> TCPServer; for HTTP/2 only the stream."""
    stream: Any = getattr(send, "__self__", None)
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    if isinstance(protocol, SteadyH2Protocol):
        protocol.abort(stream.stream_id)
    elif isinstance(protocol, H11Protocol):
        server = getattr(protocol.send, "__self__", None)
        if isinstance(server, TCPServer):
            abort(server.writer.transport)


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
            while kept <= PIPELINED_BYTES and (received := await self._server.reader.read(MAX_RECV)):
                self._protocol.connection.receive_data(received)
                kept += len(received)


class PromptTCPServer(TCPServer):
    """Hypercorn's connection, which ends when its client has ended it, and can be aborted.

    Plain HTTP/1.1 is served by `Http1Connection`, unless the configuration says otherwise.
    """

    config: ServerConfig

    async def run(self) -> None:
        """Serve it to its end."""
        task = asyncio.current_task()
        if task is not None:
            self.config.connections[task] = self
            task.add_done_callback(self.config.connections.pop)
        self._http1: Http1Connection | None = None
        self._is_new = False
        if not self.config.is_direct or self._negotiated() == "h2" or await self._serve_http1():
            await super().run()

    def abort(self) -> None:
        self.writer.transport.abort()

    def close_when_idle(self) -> None:
        """Close it if no request is being answered, else after that; Hypercorn sees to its own."""
        if self._http1 is not None:
            self._http1.close_when_idle()
        elif self._is_new:
            self.writer.transport.close()

    def _negotiated(self) -> str | None:
        encryption = self.writer.get_extra_info("ssl_object")
        return None if encryption is None else encryption.selected_alpn_protocol()

    async def _serve_http1(self) -> bool:
        """Serve HTTP/1.1; return whether Hypercorn is to go on, with what its reader was given back."""
        transport = cast("asyncio.Transport", self.writer.transport)
        since = self.loop.time()
        idle = self.loop.call_later(self.config.keep_alive_timeout, transport.close)
        self._is_new = True
        first = await self.reader.read(_EVERYTHING)
        self._is_new = False
        idle.cancel()
        if not first or self.reader.at_eof() or (common := self._scope()) is None:
            transport.close()
            return False
        streams = transport.get_protocol()
        self._http1 = http1 = Http1Connection(self._call_app, transport, common, self.config, idle_since=since)
        # uvloop reads into the protocol's own buffer only if it begins to read with it.
        transport.pause_reading()
        transport.set_protocol(http1)
        transport.resume_reading()
        http1.take(first)
        is_handed_over = await http1.wait_ended()
        self._http1 = None
        if is_handed_over:
            transport.set_protocol(streams)
            self.reader.feed_data(bytes(http1.unread))
            transport.resume_reading()
        return is_handed_over

    def _call_app(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        # Hypercorn's wrapper of an ASGI application needs no more than the first three.
        return self.app(scope, receive, send, cast("Any", None), cast("Any", None))

    def _scope(self) -> dict[str, Any] | None:
        """Return what the scopes of the connection's requests have in common; None if it is closed."""
        connection = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(connection.family, connection.getpeername())
        except OSError:
            return None
        return {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "scheme": "http" if self.writer.get_extra_info("ssl_object") is None else "https",
            "root_path": self.config.root_path,
            "client": client,
            "server": parse_socket_addr(connection.family, connection.getsockname()),
            "state": ConnectionState(self.state),
        }

    async def _read_data(self) -> None:
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol):
            # Hypercorn stops reading while a response is under way, and so never sees that its client has left.
            protocol.can_read = _PipelinedReading(self, protocol)
        await self._read_pieces()
        # The client has closed: without this the connection would stay until the keep-alive time is over.
        await self.idle_task.stop()

    async def _read_pieces(self) -> None:
        """Read on, of HTTP/2 in small pieces, each in a turn of its own: Hypercorn lets nobody between two of them."""
        is_first = True
        while not self.reader.at_eof():
            # What it is, is known once the first is read.
            is_slow = self.config.is_direct or is_first or isinstance(self.protocol.protocol, H2Protocol)
            is_first = False
            try:
                data = await self.reader.read(PIECE_BYTES if is_slow else MAX_RECV)
            except OSError:
                break
            if is_slow:
                await self.config.turns.take(len(data) * CHUNKS_A_TURN // PIECE_BYTES)
            await self.protocol.handle(RawData(data))
        await self.protocol.handle(Closed())


def install() -> None:
    """Let Hypercorn use our connection class; it has no setting for that."""
    http2.install()
    hypercorn.asyncio.run.TCPServer = PromptTCPServer  # type: ignore[attr-defined]  # imported there, not exported
