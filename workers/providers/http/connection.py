"""A connection to a model server, read by the loop or, where that lags behind, by who wants its bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

MOST_HELD_BYTES: Final = 256 * 1024
"""Of a reply that nobody reads; the connection is read no further then."""
READ_BYTES: Final = 64 * 1024
"""Bytes that are read at a time of what waits in the kernel."""
READS_IN_A_ROW: Final = 4
"""After so many of them others get a turn: a server may send as fast as it is read."""


class Connection(asyncio.Protocol):
    """One connection to the server.

    Who reads more slowly than the server sends reads by itself: what comes meanwhile waits in the kernel and wakes
    nobody. With many streams, which are read once in a tick, that is most of them (`RelaySender._pace`).

    Args:
        opened: its socket.

    Attributes:
        is_closed: whether nothing more can come.
        is_used: whether it has served a request already.
        idle_since: since when it waits for another one, by the loop's clock.
    """

    transport: asyncio.Transport

    def __init__(self, opened: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = opened
        self._parts: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._in_a_row = 0
        self._error: Exception | None = None
        self.is_closed = self.is_used = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]  # TCP has a Transport

    def data_received(self, data: bytes) -> None:
        """Keep what came for who reads."""
        self._parts.append(data)
        self._held += len(data)
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif self._held > MOST_HELD_BYTES:
            self._pause()

    def connection_lost(self, error: Exception | None) -> None:
        """Wake who reads."""
        self.is_closed, self._error = True, error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def has_data(self) -> bool:
        """Return whether something has come that nobody has read."""
        if self._is_paused and not self._parts:
            self._receive()
        return bool(self._parts)

    def take(self) -> bytes:
        """Return what has come and nobody has read."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        return data

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end.

        Raises:
            OSError: the connection broke.
        """
        if self._parts:
            self._pause()
        elif self._is_paused:
            self._in_a_row += 1
            if self._in_a_row == READS_IN_A_ROW:
                self._in_a_row = 0
                await asyncio.sleep(0)
            self._receive()
        while not self._parts:
            if self.is_closed:
                if self._error is not None:
                    raise self._error
                return b""
            self.watch()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    def watch(self) -> None:
        """Let the loop read what comes, and notice the end, whether or not somebody reads."""
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()

    def _pause(self) -> None:
        """Leave what comes in the kernel."""
        if not (self._is_paused or self.transport.is_closing()):
            self._is_paused = True
            self.transport.pause_reading()

    def _receive(self) -> None:
        """Take what waits in the kernel, if the connection is open."""
        if self.is_closed or self.transport.is_closing():
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.is_closed, self._error = True, error
        else:
            if data:
                self._parts.append(data)
                return
            self.is_closed = True
        self.transport.abort()
