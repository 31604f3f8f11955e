"""Hypercorn's configuration, with what its settings have no way to say of sockets."""

from __future__ import annotations

import ctypes
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from hypercorn.config import Config, Sockets

from api.server.turns import Turns

if TYPE_CHECKING:
    import asyncio

_UNACKNOWLEDGED_MS: Final = 30_000
_SO_ATTACH_FILTER: Final = 26
"""Linux (asm-generic/socket.h)."""
_NO_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    # Load the octet of TCP's flags; if SYN is set go on, else jump over one; drop the packet; keep all of it.
    for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
"""A filter (linux/filter.h) that drops packets which ask for a new connection, and no others."""


class OpenConnection(Protocol):
    """A connection that is open."""

    def abort(self) -> None:
        """Close it at once."""

    def close_when_idle(self) -> None:
        """Close it once it serves no request."""


class ServerConfig(Config):
    """Hypercorn's configuration, with sockets that notice a client that vanished without a word.

    Attributes:
        connections: those that are open.
        is_draining: whether each response shall be the last of its connection.
        turns: those in which bodies in chunks are read.
        processes: how many listen at the same address; the kernel deals new connections out to them.
        is_direct: whether HTTP/1.1 is served by ourselves; else by Hypercorn with h11.
    """

    def __init__(self) -> None:
        self.connections: dict[asyncio.Task[Any], OpenConnection] = {}
        self.is_draining = False
        self.turns = Turns()
        self.processes = 1
        self.is_direct = True
        self._sockets: Sockets | None = None
        super().__init__()

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return what every response has, its errors too."""
        # HTTP/2 forbids the field (RFC 9113, section 8.2.2).
        closing = [(b"connection", b"close")] if self.is_draining and protocol == "h11" else []
        return super().response_headers(protocol) + closing

    def abort_connections(self) -> None:
        """Abort every connection: a request that still has one ends as if its client had left."""
        for connection in list(self.connections.values()):
            connection.abort()

    def close_idle_connections(self) -> None:
        """Close connections that serve no request, and every other as soon as it has served its own."""
        for connection in list(self.connections.values()):
            connection.close_when_idle()

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
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
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
