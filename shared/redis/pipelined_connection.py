"""A pipelined connection of redis-py: commands are written at once, and their answers go to callers in order.

An answer that is late would be taken for that of the next command, so whatever goes wrong ends the connection for all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.redis.server_state import ServerState, is_no_master

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_S: Final = 0.05
"""From the end of a server's time to the judgement: a process that was stopped has yet to read what came meanwhile."""
MOST_UNANSWERED_BYTES: Final = 4 * 1024 * 1024
_INCOMPLETE: Final = object()


class ConnectionFull(Exception):
    """So many bytes are on the way that no more are taken; nothing was sent."""


class PooledConnection(Protocol):
    """A connection that a pool has lent, logged in, with nothing under way."""

    server: ServerState
    reign: int

    @property
    def answer_s(self) -> float:
        """Return for how many seconds the server may be silent that has something to answer."""
        ...

    @property
    def is_stale(self) -> bool:
        """Return whether the server is known not to be the master any more."""
        ...

    @property
    def transport(self) -> asyncio.Transport:
        """Return the open transport under it."""
        ...

    def to_error(self, text: str) -> Exception:
        """Return the exception for an answer that is an error."""
        ...


class _Call:
    """Commands that were sent together, and their answers so far."""

    __slots__ = ("answers", "done", "left", "sent_at", "size")

    def __init__(self, done: asyncio.Future[list[Any]], count: int, size: int, sent_at: float) -> None:
        self.done = done
        self.answers: list[Any] = []
        self.left = count
        self.size = size
        self.sent_at = sent_at


class PipelinedConnection(asyncio.Protocol):
    """One connection, until it breaks.

    Args:
        connection: it is this line's from now on.
        on_lost: called once it has broken.

    Attributes:
        is_lost: whether it has.
        known_scripts: the digests of those that the server has by it.
    """

    def __init__(self, connection: PooledConnection, on_lost: Callable[[], None]) -> None:
        self._connection = connection
        self._answer_s = connection.answer_s
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=connection.to_error, notEnoughData=_INCOMPLETE
        )
        self._calls: deque[_Call] = deque()
        self._unanswered = 0
        self._unwritten: list[bytes] = []
        self._is_paused = False
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.is_lost = False
        self.known_scripts: set[str] = set()
        self._transport = connection.transport
        # redis-py's own reader holds nothing: the answer to its last command has been read.
        self._transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Return whether commands may be sent; a line to a server that is no master any more is ended by this."""
        if not self.is_lost and (self._connection.is_stale or self._transport.is_closing()):
            self.end("the server is not the master any more, or has closed the connection")
        return not self.is_lost

    def send(self, packed: bytes, count: int) -> asyncio.Future[list[Any]]:
        """Send commands; their answers, errors among them, come in order. Whoever is cancelled does not get them.

        Args:
            packed: the commands.
            count: how many answers they have.

        Raises:
            ConnectionFull: too many bytes are on the way already.
            ConnectionError: it has broken since it was found to be usable.
        """
        if self.is_lost:
            raise RedisConnectionError("the connection was lost")
        if self._unanswered > MOST_UNANSWERED_BYTES or self._is_paused:
            raise ConnectionFull
        done, now = self._loop.create_future(), self._loop.time()
        self._calls.append(_Call(done, count, len(packed), now))
        self._unanswered += len(packed)
        # What is sent in one turn of the loop goes out together: a write costs as much as all else.
        if not self._unwritten:
            self._loop.call_soon(self._write)
        self._unwritten.append(packed)
        if self._watch is None:
            self._watch = self._loop.call_later(self._answer_s, self._look)
        return done

    def _write(self) -> None:
        if not self.is_lost:
            self._transport.write(b"".join(self._unwritten))
        self._unwritten.clear()

    def end(self, why: str) -> None:
        """Close it; who waits for an answer gets an error."""
        self._break(RedisConnectionError, why)

    # --- what the loop calls ---

    def data_received(self, data: bytes) -> None:
        """Hand out answers."""
        self._heard_at = self._loop.time()
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _INCOMPLETE and not self.is_lost:
                self._take(answer)
        # IndexError: an answer that nobody waits for.
        except (RedisError, IndexError) as error:
            self.end(f"the server's answer cannot be read: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """Fail all that waits."""
        self.end(f"the connection was lost: {error or 'closed by the server'}")

    def pause_writing(self) -> None:
        """Take no more: the server reads too slowly."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Take commands again."""
        self._is_paused = False

    def _take(self, answer: Any) -> None:
        is_over = False
        if isinstance(answer, RedisError):
            if is_over := is_no_master(answer):
                self._connection.server.end_reign(self._connection.reign)
                answer = RedisConnectionError(f"the server cannot serve as the master now: {answer}")
            else:
                self._connection.server.note_fault(answer)
        elif type(answer) is list and any(isinstance(part, RedisError) and is_no_master(part) for part in answer):
            # A script in a transaction is refused once it runs.
            is_over = True
            self._connection.server.end_reign(self._connection.reign)
        call = self._calls[0]
        call.answers.append(answer)
        call.left -= 1
        if not call.left:
            self._calls.popleft()
            self._unanswered -= call.size
            if not call.done.done():
                call.done.set_result(call.answers)
        if is_over:
            self.end("the server is not the master any more")

    def _look(self) -> None:
        """Look whether the server is silent though it has something to answer."""
        self._watch = None
        if not self._calls:
            return
        left_s = max(self._heard_at, self._calls[0].sent_at) + self._answer_s - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look)
        else:
            self._watch = self._loop.call_later(GRACE_S, self._judge)

    def _judge(self) -> None:
        self._watch = None
        if self._calls and max(self._heard_at, self._calls[0].sent_at) + self._answer_s <= self._loop.time():
            self._break(RedisTimeoutError, "the server does not answer")
        else:
            self._look()

    def _break(self, kind: type[RedisError], why: str) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        for call in self._calls:
            if not call.done.done():
                call.done.set_exception(kind(why))
        self._calls.clear()
        self._on_lost()
