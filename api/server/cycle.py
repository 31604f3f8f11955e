"""One request over HTTP/1.1 and its response, as ASGI messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from api.server.chunks import ChunkDecoder
from api.server.head import CHUNKED
from api.server.response import BODILESS, response_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.server.head import RequestHead
    from api.server.turns import Turns

HELD_BYTES: Final = 65_536
"""Bytes of a body that wait for its handler, before no more of it is read."""
_CONTINUE: Final = b"HTTP/1.1 100 \r\n\r\n"


class Connection(Protocol):
    """The connection as a request cycle uses it."""

    @property
    def is_closing(self) -> bool: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def stop_reading(self) -> None: ...
    def read_on(self) -> None: ...
    def responded(self) -> None: ...


class RequestCycle:
    """One request and its response.

    Args:
        connection: its connection.
        head: its head.
        turns: those in which bodies in chunks are read.

    Attributes:
        is_received: whether all of the request is here.
        left: bytes of a body of a known length that did not come yet.
        may_reuse: whether another request may follow on the connection.
        is_begun: whether something of the response was sent.
        is_over: whether all of the response was sent.
        is_gone: whether the client left before that.
    """

    __slots__ = (
        "_arrived", "_connection", "_decoder", "_expects_continue", "_has_body", "_held", "_is_chunked", "_is_taken",
        "_on_disconnect", "_pieces", "_start", "_to_send", "is_begun", "is_gone", "is_over", "is_received", "left",
        "may_reuse",
    )  # fmt: skip

    def __init__(self, connection: Connection, head: RequestHead, turns: Turns) -> None:
        self._connection = connection
        self._has_body = head.method != "HEAD"
        self._expects_continue = head.expects_continue
        self._decoder = ChunkDecoder(turns) if head.length == CHUNKED else None
        self._pieces: list[bytes] = []
        self._held = 0
        self._arrived: asyncio.Future[None] | None = None
        self._is_taken = False
        self._start: dict[str, Any] | None = None
        self._is_chunked = False
        self._to_send = 0
        self._on_disconnect: Callable[[], object] | None = None
        self.is_received = head.length == 0
        self.left = max(0, head.length)
        self.may_reuse = head.keeps_alive
        self.is_begun = False
        self.is_over = False
        self.is_gone = False

    # --- the request ---

    @property
    def is_behind(self) -> bool:
        """Return whether chunks are held that are to be read in a later turn: it is fed nothing then, in its turn."""
        return self._decoder is not None and self._decoder.is_behind

    @property
    def has_room(self) -> bool:
        """Return whether more may be read from its client: of its body, or behind it."""
        return self.is_received or self._held < HELD_BYTES

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the connection; return those behind the body.

        Raises:
            RequestRefused: they are no body.
        """
        # Who sends without having waited needs no 100 any more (RFC 9110, section 10.1.1).
        self._expects_continue = False
        self._held += len(data)
        if self._decoder is not None:
            content = self._decoder.decode(data)
            self.is_received = self._decoder.rest is not None
            rest = self._decoder.rest or b""
        else:
            content, rest = data[: self.left], data[self.left :]
            self.left -= len(content)
            self.is_received = self.left == 0
        if content and not self.is_over:
            self._pieces.append(content)
        if self.is_behind or not (self.has_room or self.is_over):
            self._connection.stop_reading()
        self._wake()
        return rest

    async def receive(self) -> dict[str, Any]:
        """Return the next message: a piece of the body, or, once all of it was returned, that the client has left."""
        while not (self._pieces or self.is_gone or self.is_over or (self.is_received and not self._is_taken)):
            # Only now that it is wanted: who is refused before that need not send his body.
            if self._expects_continue and not self.is_begun:
                self._expects_continue = False
                self._connection.write(_CONTINUE)
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        if self.is_gone or (self.is_over and not self._pieces):
            return {"type": "http.disconnect"}
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        self._is_taken = self.is_received
        if not (self.is_received or self.is_behind):
            self._connection.read_on()
        return {"type": "http.request", "body": body, "more_body": not self.is_received}

    def disconnect(self) -> None:
        """Let the request hear that its client has left."""
        if self.is_over or self.is_gone:
            return
        self.is_gone = True
        self._wake()
        # Not kept: it leads to the task, which keeps the frames that its cancellation came through.
        call, self._on_disconnect = self._on_disconnect, None
        if call is not None:
            call()

    def call_on_disconnect(self, call: Callable[[], object]) -> None:
        """Call `call` when the client leaves before the end of its response; at once where it has."""
        if self.is_gone:
            call()
        else:
            self._on_disconnect = call

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    # --- the response ---

    async def send(self, message: Any) -> None:
        """Send a message of the response. Its head waits for the first of the body: both are one write.

        Raises:
            RuntimeError: the message has no place here, or the body is not as long as the head says.
        """
        if self.is_gone:
            return
        if message["type"] == "http.response.start" and self._start is None:
            self._start = message
            return
        if message["type"] != "http.response.body" or self._start is None or self.is_over:
            raise RuntimeError(f"{message['type']} has no place here")
        body, is_last = message.get("body", b""), not message.get("more_body", False)
        head = b"" if self.is_begun else self._begin(self._start)
        data = head + self._framed(body, is_last=is_last)
        if data:
            self._connection.write(data)
        if is_last:
            self.is_over = True
            self._wake()
            self._connection.responded()
        else:
            await self._connection.drain()

    def _begin(self, start: dict[str, Any]) -> bytes:
        # Who waits for a 100 that does not come may send the body all the same, or another request in its place.
        reuse = self.may_reuse and not (self._expects_continue or self._connection.is_closing)
        self._has_body &= start["status"] not in BODILESS
        head = response_head(start["status"], start.get("headers", ()), keeps_alive=reuse)
        self.may_reuse = head.keeps_alive
        self.is_begun = True
        self._is_chunked = head.length is None
        self._to_send = head.length or 0
        return head.data

    def _framed(self, body: bytes, *, is_last: bool) -> bytes:
        """Return the next part of the body as it is sent."""
        if not self._has_body:
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" if is_last else chunk
        self._to_send -= len(body)
        if self._to_send < 0 or (is_last and self._to_send):
            raise RuntimeError("the body of the response is not as long as its head says")
        return body
