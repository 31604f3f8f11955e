"""Replies by way of aiohttp: what servers send is parsed in pieces, between which the event loop goes on.

uvloop hands a protocol a quarter of a megabyte, and what has come meanwhile at once after it, dozens of times. That may
be heads of replies that say "go on", or chunks of a byte: seconds of work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

PIECE_BYTES: Final = 4096
"""Some milliseconds of the worst there is. One piece is parsed in a turn of the event loop, of all connections."""
UPSTREAM_PIECE_BYTES: Final = 32 * 1024
"""The same of model servers, which the operator has chosen, and whose replies may have a hundred megabytes: 20 ms."""


class _Pieces:
    """Those that wait, one for each connection that has some."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def is_waiting(self) -> bool:
        """Return whether any does."""
        return bool(self._waiting)

    def add(self, feed: Callable[[], None]) -> None:
        """Call `feed` in a turn of its own."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._feed)
        self._waiting.append(feed)

    def _feed(self) -> None:
        feed = self._waiting[0]
        try:
            feed()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._feed)


class PacedHandler(ResponseHandler):
    """A connection of aiohttp's that parses what comes in pieces.

    Args:
        loop: the event loop.
        pieces: those of all connections.
        piece_bytes: how much a piece has.
    """

    __slots__ = ("_backlog", "_lost", "_piece_bytes", "_pieces")

    def __init__(self, loop: asyncio.AbstractEventLoop, pieces: _Pieces, piece_bytes: int) -> None:
        super().__init__(loop)
        self._pieces = pieces
        self._piece_bytes = piece_bytes
        self._backlog = b""
        self._lost: tuple[BaseException | None] | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        # Nothing at all is how aiohttp has its parser go on.
        if not data or not (self._backlog or len(data) > self._piece_bytes or self._pieces.is_waiting):
            super().data_received(data)
            return
        if not self._backlog:
            self._pause_reading_for_buffer()
            self._pieces.add(self._feed)
        self._backlog += data

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, once what had come is parsed."""
        if self._backlog:
            self._lost = (exc,)
        else:
            super().connection_lost(exc)

    def _feed(self) -> None:
        size = self._piece_bytes
        piece, self._backlog = self._backlog[:size], self._backlog[size:]
        super().data_received(piece)
        if self._lost is None and (self.transport is None or self.transport.is_closing()):
            self._backlog = b""  # closed by us
        if self._backlog:
            self._pieces.add(self._feed)
        elif self._lost is not None:
            super().connection_lost(*self._lost)
        else:
            self._resume_reading_for_buffer()


def paced_connector(
    piece_bytes: int, *, limit: int, keepalive_timeout: float, ssl: ssl.SSLContext
) -> aiohttp.TCPConnector:
    """Return a connector whose connections parse in pieces; aiohttp has no setting for that."""
    connector = aiohttp.TCPConnector(limit=limit, keepalive_timeout=keepalive_timeout, ssl=ssl)
    handler = partial(PacedHandler, asyncio.get_running_loop(), _Pieces(), piece_bytes=piece_bytes)
    connector._factory = handler  # type: ignore[assignment]  # noqa: SLF001 -- see above
    return connector
