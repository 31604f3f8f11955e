"""The reply of an upstream: its body, as events or whole, and the errors of a connection that fails."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from shared.errors import GatewayError, Malformed, StreamBroken, Unavailable
from workers.providers.http.client import content_of
from workers.providers.http.direct import DirectReply
from workers.reasons import NETWORK_ERRORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.types import Event
    from workers.providers.http.lines import LineReader

MAX_BODY_BYTES = 64 * 1024 * 1024
DRAIN_S = 0.25
# How often a silent reader is asked whether the upstream lives: far below any bound between tokens.
ALIVE_S = 0.2


class Reply:
    """A reply that has begun with a success status."""

    def __init__(self, response: httpx.Response | DirectReply) -> None:
        self._heard_at = time.monotonic()
        self._direct = response if isinstance(response, DirectReply) else None
        self._read = content_of(response)

    async def batches(self, reader: LineReader) -> AsyncIterator[Sequence[Event]]:
        """Yield what `reader` makes of the body: one batch for what one read from the network completed.

        An empty batch, at most one a second, stands for bytes without an event: pings, comments, parts of a long line.

        Raises:
            UpstreamError: the reply failed; the events before the failure have been yielded.
        """
        try:
            while not reader.done:
                data = await self._read()
                events = reader.end() if data is None else reader.feed(data)
                if events or time.monotonic() - self._heard_at >= ALIVE_S:
                    self._heard_at = time.monotonic()
                    yield events
                if reader.failure is not None:
                    raise reader.failure
                if data is None:
                    return
        except NETWORK_ERRORS as error:
            raise network_failure(error, after_content=reader.has_content) from error

    async def whole(self, limit: int = MAX_BODY_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            Malformed: it is longer than `limit` bytes.
            Unavailable: it broke off.
        """
        return b"".join([data async for data in self.pieces(limit)])

    async def beginning(self, limit: int, bound_s: float) -> bytes:
        """Return what comes of the body in `bound_s` seconds, or until it breaks off, `limit` bytes at the most."""
        found = bytearray()
        with suppress(TimeoutError, Malformed, Unavailable):
            async with asyncio.timeout(bound_s):
                async for data in self.pieces(limit):
                    found += data
        return bytes(found)

    async def pieces(self, limit: int) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            Malformed: it is longer than `limit` bytes.
            Unavailable: it broke off.
        """
        size = 0
        try:
            while (data := await self._read()) is not None:
                size += len(data)
                if size > limit:
                    raise Malformed("The model server's answer is too long.")
                yield data
        except NETWORK_ERRORS as error:
            raise network_failure(error, after_content=False) from error

    async def drain(self) -> None:
        """Read the little that follows the end mark, so that the connection can serve again."""
        with suppress(TimeoutError, *NETWORK_ERRORS):
            if self._direct is not None and self._direct.ends_now():
                return
            async with asyncio.timeout(DRAIN_S):
                while await self._read() is not None:
                    pass


def network_failure(error: Exception, *, after_content: bool) -> GatewayError:
    """Return the error for a connection that failed. Its text may name hosts, so it is not shown."""
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return Unavailable("The model server's address is not valid.")
    if after_content:
        return StreamBroken("The connection to the model server broke in the middle of its answer.")
    return Unavailable("The model server cannot be reached.")
