"""A connection over HTTP/1.1: one task a request, one write for a head and the body behind it, one timer.

Hypercorn's way takes a task for the request, two for its idle time, and a queue, an event and a lock at each step. Here
nothing waits but the request. What wants another protocol (HTTP/2, HTTP/1.0) is handed to Hypercorn, which
keeps the connection to its end.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from api.server.closing import ANSWER_S, DRAIN_LINGER_S, LINGER_S, abort, end_writing
from api.server.cycle import RequestCycle
from api.server.head import RequestRefused, head_end, read_head
from api.server.response import failure, refusal
from api.server.scope import ABORT, ON_DISCONNECT, scope_of
from api.server.writing import WritingProtocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.server.config import ServerConfig

READ_BYTES: Final = 65_536
"""Bytes that are read at a time: what is done with it must not hold up others."""
PIPELINED_BYTES: Final = 1024 * 1024
"""Bytes that a client may send behind a request that is being answered."""
DROPPED_BYTES: Final = 65_536
"""Bytes of an unwanted body that are read, for the next request on its connection."""
# Whatever is read is copied before anything else is, so that all connections may share it.
_buffer: Final = memoryview(bytearray(READ_BYTES))


class Http1Connection(WritingProtocol):
    """One connection.

    Args:
        app: called with scope, receive and send for each request, in a task of its own.
        transport: of the connection.
        common: what the scopes of all its requests have in common.
        config: of the server.
        idle_since: when it began, on the loop's clock.

    Attributes:
        ended: when it is over; True if another protocol is to go on with `unread`.
        unread: bytes that belong to no request yet.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        transport: asyncio.Transport,
        common: dict[str, Any],
        config: ServerConfig,
        *,
        idle_since: float,
    ) -> None:
        self._app = app
        self._transport = transport
        self._common = common
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._cycle: RequestCycle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._to_drop = 0
        self._is_reading = True
        self._idle_since = idle_since
        self._timer = self._loop.call_at(idle_since + config.keep_alive_timeout, self._check_idle)
        self.ended: asyncio.Future[bool] = self._loop.create_future()
        self.unread = bytearray()
        self._is_last = self._is_lingering = False

    @property
    def is_closing(self) -> bool:
        """Return whether no further request is taken."""
        return self._is_last or self._config.is_draining

    async def wait_ended(self) -> bool:
        """Wait until the connection and its requests are over; return whether another protocol is to go on."""
        try:
            is_handed_over = await self.ended
        except asyncio.CancelledError:
            abort(self._transport)
            raise
        if self._tasks:
            await asyncio.wait(self._tasks)
        return is_handed_over

    def close_when_idle(self) -> None:
        """Close it once the request that is being answered is over; at once where there is none."""
        if self._is_lingering:
            self._timer.cancel()
            self._timer = self._loop.call_later(DRAIN_LINGER_S, abort, self._transport)
        elif self._cycle is None:
            self._transport.close()
        self._is_last = True

    # --- what asyncio says ---

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what is read next."""
        del sizehint
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.take(bytes(_buffer[:nbytes]))

    def eof_received(self) -> None:
        """Treat the end of what a client sends as its leaving: nobody waits for an answer that way."""
        if self._cycle is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way."""
        del exc
        self._end(is_handed_over=False)
        self.resume_writing()
        if self._cycle is not None:
            self._cycle.disconnect()

    # --- what a request needs ---

    def write(self, data: bytes) -> None:
        """Write, whatever waits already."""
        self._transport.write(data)

    def stop_reading(self) -> None:
        """Read nothing more for the present."""
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def read_on(self) -> None:
        """Read again, unless a request is still to be fed with what was read."""
        is_fed = self._cycle is None or self._cycle.is_received or not self.unread
        if is_fed and not self._is_reading and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def responded(self) -> None:
        """Go on to the next request: the response to this one is written."""
        cycle, self._cycle = cast("RequestCycle", self._cycle), None
        self._idle_since = self._loop.time()
        # Of a body in chunks nobody knows how much is left.
        is_read = cycle.is_received or 0 < cycle.left <= DROPPED_BYTES
        if self.is_closing or not (cycle.may_reuse and is_read):
            self._close(may_get_more=not cycle.is_received or bool(self.unread))
            return
        dropped = min(cycle.left, len(self.unread))
        del self.unread[:dropped]
        self._to_drop = cycle.left - dropped
        self.read_on()
        if self.unread:
            self._begin_next()

    # --- requests ---

    def take(self, data: bytes) -> None:
        """Take the next bytes of the client."""
        if self._is_lingering:
            return
        if self._to_drop:
            data, self._to_drop = data[self._to_drop :], max(0, self._to_drop - len(data))
        try:
            cycle = self._cycle
            if cycle is not None and not (cycle.is_received or cycle.is_behind or self.unread):
                data = cycle.feed(data)
                self._feed_later(cycle)
            if self._cycle is None and data and not self._is_last:
                self.unread += data
                self._begin_next()
            elif data:
                self._keep(data)
        except RequestRefused as refused:
            self._refuse(refused)

    def _keep(self, data: bytes) -> None:
        self.unread += data
        if len(self.unread) > PIPELINED_BYTES and self._is_reading:
            # Not at once: uvloop reads 2 MiB at a time, and in between nobody can say that the answer is over.
            self.stop_reading()
            self._loop.call_later(ANSWER_S, self._end_flood)

    def _end_flood(self) -> None:
        if self._cycle is not None and len(self.unread) > PIPELINED_BYTES:
            abort(self._transport)

    def _begin_next(self) -> None:
        """Begin with the request that `unread` begins with, once all of its head is there."""
        try:
            end = head_end(self.unread)
            if not end:
                return
            head = read_head(self.unread[:end])
            if head is None:
                self._hand_over()
                return
            del self.unread[:end]
            self._cycle = cycle = RequestCycle(self, head, self._config.turns)
            means = {ABORT: partial(abort, self._transport), ON_DISCONNECT: cycle.call_on_disconnect}
            task = self._loop.create_task(self._serve(cycle, scope_of(head, self._common) | means))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        except RequestRefused as refused:
            self._refuse(refused)
        else:
            self._feed_unread()

    def _feed_unread(self) -> None:
        """Give a request what came before it began, in pieces between which others go on."""
        cycle = self._cycle
        if cycle is None or cycle.is_received or cycle.is_gone or not (self.unread or cycle.is_behind):
            return
        size = 0 if cycle.is_behind else READ_BYTES
        piece = bytes(self.unread[:size])
        del self.unread[:size]
        try:
            self.unread[:0] = cycle.feed(piece)
        except RequestRefused as refused:
            self._refuse(refused)
        else:
            self._feed_later(cycle)

    def _feed_later(self, cycle: RequestCycle) -> None:
        """Give a request later what it could not be given now."""
        if cycle.is_behind:
            self._config.turns.wait(self._feed_unread)
        elif self.unread and not cycle.is_received:
            self._loop.call_soon(self._feed_unread)
        elif cycle.has_room:
            self.read_on()

    async def _serve(self, cycle: RequestCycle, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, cycle.receive, cycle.send)
        except Exception:  # noqa: BLE001 -- whatever it is, the connection is not to blame
            await self._config.log.exception("Error in ASGI Framework")
        finally:
            if not (cycle.is_over or cycle.is_gone):
                self._fail(cycle)

    def _fail(self, cycle: RequestCycle) -> None:
        """End a request whose app ended before its response."""
        cycle.is_over = True
        # A part of a response ends with its connection, so that nobody takes it for the whole.
        if not cycle.is_begun:
            self._transport.write(failure())
        self._cycle = None
        self._close(may_get_more=not cycle.is_received)

    def _refuse(self, refused: RequestRefused) -> None:
        """Answer what is no request, and close: where the next one would begin is not known."""
        cycle, self._cycle = self._cycle, None
        if cycle is None or not cycle.is_begun:
            self._transport.write(refusal(refused))
        self._close(may_get_more=True)
        if cycle is not None:
            cycle.disconnect()

    def _close(self, *, may_get_more: bool) -> None:
        """Close it, if its client may still send something once that has had time to read the answer."""
        self._is_last = True
        if not (may_get_more and end_writing(self._transport)):
            self._transport.close()
            return
        self._is_lingering = True
        self.unread.clear()
        self._timer.cancel()
        bound_s = DRAIN_LINGER_S if self._config.is_draining else LINGER_S
        self._timer = self._loop.call_later(bound_s, abort, self._transport)
        self.read_on()

    def _hand_over(self) -> None:
        self.stop_reading()
        self._end(is_handed_over=True)

    def _end(self, *, is_handed_over: bool) -> None:
        self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(is_handed_over)

    def _check_idle(self) -> None:
        """Close what has been idle for too long. The timer is not moved with each request, but looks again."""
        idle_s = self._config.keep_alive_timeout
        idle_until, now = self._idle_since + idle_s, self._loop.time()
        if self._cycle is None and now >= idle_until:
            self._is_last = True
            # Closing waits until all is read, and this client has read nothing for that long.
            if self._transport.get_write_buffer_size():
                abort(self._transport)
            else:
                self._transport.close()
            return
        # While a request runs nobody knows when the connection becomes idle.
        self._timer = self._loop.call_at(idle_until if idle_until > now else now + idle_s, self._check_idle)
