"""A subscription of redis-py's, once it is confirmed, read without two timeouts and a dictionary for each message."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError

if TYPE_CHECKING:
    from shared.redis.pipelined_connection import PooledConnection

MOST_HELD_BYTES: Final = 1024 * 1024
"""Of messages that nobody has taken yet; the connection is read no further then."""
_INCOMPLETE: Final = object()
_MESSAGE_ITEMS: Final = 3


class Listener(asyncio.Protocol):
    """The messages of one subscription.

    Args:
        connection: subscribed; it is this listener's from now on.
    """

    def __init__(self, connection: PooledConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=connection.to_error, notEnoughData=_INCOMPLETE
        )
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._held = 0
        self._is_paused = False
        self._news: asyncio.Future[None] | None = None
        self._heard_at = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None
        self._failure = ""
        self._transport = connection.transport

    def take_over(self, early: list[tuple[bytes, bytes]]) -> None:
        """Read the connection from now on, after messages that redis-py has read; nobody reads it meanwhile."""
        self._messages.extend(early)
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    async def next(self, silence_s: float) -> tuple[bytes, bytes]:
        """Return the next message: its channel and its bytes.

        Raises:
            ConnectionError: nothing came for `silence_s` seconds, the server is not the master any more, or the
                connection is lost.
        """
        while not self._messages:
            if self._failure:
                raise RedisConnectionError(self._failure)
            self._news = self._loop.create_future()
            if self._watch is None:
                self._watch = self._loop.call_later(silence_s, self._look, silence_s)
            try:
                await self._news
            finally:
                self._news = None
        if self._connection.is_stale:
            # A replica hands on what its master publishes, but who publishes there counts no receiver.
            raise ConnectionError("the subscription is not at the master")
        channel, message = self._messages.popleft()
        self._held -= len(message)
        if self._is_paused and self._held <= MOST_HELD_BYTES:
            self._is_paused = False
            self._transport.resume_reading()
        return channel, message

    def close(self) -> None:
        """Read no more."""
        self._fail("the subscription is closed")

    # --- what the loop calls ---

    def data_received(self, data: bytes) -> None:
        """Take messages."""
        self._heard_at = self._loop.time()
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _INCOMPLETE:
                self._take(answer)
        except RedisError as error:
            self._fail(f"the subscription cannot be read: {error}")
        if self._held > MOST_HELD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail who waits."""
        self._fail(f"the subscription was lost: {error or 'closed by the server'}")

    def _take(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            raise answer
        if len(answer) == _MESSAGE_ITEMS and answer[0] == b"message":
            self._messages.append((answer[1], answer[2]))
            self._held += len(answer[2])

    def _look(self, silence_s: float) -> None:
        self._watch = None
        left_s = self._heard_at + silence_s - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look, silence_s)
        elif self._news is not None:
            self._fail("the subscription is silent")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
