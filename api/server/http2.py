"""Hypercorn's HTTP/2, where one stream of a connection must not end the others, nor a connection hold up the process.

Behind a proxy the streams of one connection are those of many clients.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import hypercorn.protocol
import hypercorn.protocol.h2
from h2.errors import ErrorCodes
from h2.events import DataReceived, PriorityUpdated, RequestReceived
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.frame_buffer import FrameBuffer
from hypercorn.events import Closed
from hypercorn.protocol.events import Body
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BUFFER_LOW_WATER, BufferCompleteError, H2Protocol, StreamBuffer

from api.server.turns import CHUNKS_A_TURN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from hyperframe.frame import Frame

    from api.server.config import ServerConfig

_log = logging.getLogger(__name__)

PIECE_BYTES: Final = 1024
"""Bytes that are read at a time: that may be a hundred frames of nine bytes, each of which takes up to 0.1 ms."""
MOST_HEADER_BYTES: Final = 32 * 1024
"""Of the headers of one request as they are sent. They are decoded in one step, up to 0.5 us a byte."""
MOST_RUNNING: Final = 200
"""Requests of one connection. A client may have a hundred open; what it resets takes a moment to end."""
REQUEST_CHUNKS: Final = CHUNKS_A_TURN // 8
"""As how many chunks a request counts: it is begun with a millisecond of work, and ended with as much."""
_WINDOW_BYTES: Final = 32 * 1024
"""After how many bytes a client is told that it may send as many more: half of what it may send unheard."""


class _Frames(FrameBuffer):
    """h2's frames, of which none is kept that is too long: h2 looks once all of it is there, up to 16 MiB later."""

    def __next__(self) -> Frame:
        if len(self._data) >= 3:  # a frame begins with its length (RFC 9113, section 4.1)
            self._validate_frame_length(int.from_bytes(self._data[:3], "big"))
        return super().__next__()

    def _update_header_buffer(self, f: Frame | None) -> Frame | None:
        if f is not None and self._headers_buffer:
            known = sum(len(cast("Any", frame).data) for frame in self._headers_buffer)
            if known + len(getattr(f, "data", b"")) > MOST_HEADER_BYTES:
                raise DenialOfServiceError("too many bytes of headers")
        return super()._update_header_buffer(f)


class _Buffer(StreamBuffer):
    """The part of an answer that waits, no more than its client takes: Hypercorn goes on where none is sent, too."""

    async def push(self, data: bytes) -> None:
        """Append a piece; wait while there is much."""
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        while len(self.buffer) >= BUFFER_HIGH_WATER:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        """Return what may be sent now."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class _Inbox:
    """The part of a request that its client has sent and nobody has taken, as much as its stream's window allows.

    Hypercorn waits, with the whole connection, until there is room for what comes for one request.

    Args:
        on_taken: hears of how many bytes have been taken.
    """

    def __init__(self, on_taken: Callable[[int], Awaitable[None]]) -> None:
        self._on_taken = on_taken
        self._content = bytearray()
        self._is_over = self._has_delivered_end = self._has_left = False
        self._news = asyncio.Event()

    async def put(self, message: Any) -> None:
        """Keep a message of the client's; never waits."""
        if message["type"] == "http.request":
            self._content += message["body"]
            self._is_over = not message["more_body"]
        else:
            self._has_left = True
        self._news.set()

    async def get(self) -> Any:
        """Return the next message to the application."""
        while not (self._has_left or self._content or (self._is_over and not self._has_delivered_end)):
            self._news.clear()
            await self._news.wait()
        if self._has_left:
            return {"type": "http.disconnect"}
        body, self._has_delivered_end = bytes(self._content), self._is_over
        self._content.clear()
        message = {"type": "http.request", "body": body, "more_body": not self._has_delivered_end}
        await self._on_taken(0 if self._has_delivered_end else len(body))
        return message


class _Requests:
    """Stands for Hypercorn's tasks of a connection: a request that is begun gets an inbox, and counts while it runs.

    Args:
        tasks: Hypercorn's.
        on_taken: hears of how many bytes of which stream have been taken.

    Attributes:
        running: how many have not ended yet, those whose client has left among them.
    """

    def __init__(self, tasks: Any, on_taken: Callable[[int, int], Awaitable[None]]) -> None:
        self._tasks = tasks
        self._on_taken = on_taken
        self.spawn = tasks.spawn
        self.running = 0

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Any:
        """Begin a request; return what takes the messages of its client."""
        if scope["type"] != "http":
            return await self._tasks.spawn_app(app, config, scope, send)
        stream_id, uncredited = send.__self__.stream_id, 0  # a method of Hypercorn's stream

        async def note(taken: int) -> None:
            nonlocal uncredited
            uncredited += taken
            if uncredited >= _WINDOW_BYTES:
                credit, uncredited = uncredited, 0
                await self._on_taken(stream_id, credit)

        inbox = _Inbox(note)

        async def run(scope: Any, _receive: Any, send: Any, *more: Any) -> None:
            try:
                await app(scope, inbox.get, send, *more)
            finally:
                self.running -= 1

        self.running += 1
        await self._tasks.spawn_app(run, config, scope, send)
        return inbox.put


class SteadyH2Protocol(H2Protocol):
    """HTTP/2, of which a stream that is odd, slow or over ends or waits alone."""

    config: ServerConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection.incoming_buffer = _Frames(server=True)
        self._requests = _Requests(self.task_group, self._give_back)
        self.task_group = cast("Any", self._requests)
        self._uncredited = 0

    async def initiate(self, headers: Any = None, settings: bytes | None = None) -> None:
        """Begin; with a request where HTTP/1.1 was to become HTTP/2."""
        try:
            await super().initiate(headers, settings)
        except Exception as error:  # noqa: BLE001 -- whatever it is, a client wrote it
            _log.info("a connection cannot become HTTP/2 (%s): it is closed", type(error).__name__)
            await self.send(Closed())

    def abort(self, stream_id: int) -> None:
        """End a stream whose client does not take its answer."""
        self._requests.spawn(self._abort, stream_id)

    async def _abort(self, stream_id: int) -> None:
        with suppress(ProtocolError):
            self.connection.reset_stream(stream_id, ErrorCodes.CANCEL)
        await self._close_stream(stream_id)
        await self._window_updated(stream_id)  # whoever sends what there is of streams forgets it
        await self._flush()

    async def _handle_events(self, events: Iterable[Any]) -> None:
        for event in events:
            try:
                await self._handle_one(event)
            except Exception as error:
                stream_id = getattr(event, "stream_id", None)
                if not stream_id:
                    raise
                _log.info("a request over HTTP/2 cannot be served (%s): its stream is reset", type(error).__name__)
                with suppress(ProtocolError):
                    self.connection.reset_stream(stream_id)
                self.streams.pop(stream_id, None)
                # Whoever sends what there is of streams forgets it.
                await self._window_updated(stream_id)
        if self._uncredited >= _WINDOW_BYTES:
            self.connection.increment_flow_control_window(self._uncredited)
            self._uncredited = 0
        await self._flush()

    async def _handle_one(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            await self._begin(event)
        elif isinstance(event, DataReceived):
            await self._take(event)
        elif not isinstance(event, PriorityUpdated):  # which no client needs (RFC 9113), and whose streams would stay
            await super()._handle_events([event])

    async def _begin(self, event: RequestReceived) -> None:
        await self.config.turns.take(REQUEST_CHUNKS)
        # Counted to their true end: who opens and resets streams has few open ones (CVE-2023-44487).
        if self._requests.running >= MOST_RUNNING:
            self.connection.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        names = {name for name, _ in event.headers}
        if event.stream_ended is None and b"content-length" not in names and b":protocol" not in names:
            # As HTTP/1.1 says it of a body whose length nobody knows.
            event.headers.append((b"transfer-encoding", b"chunked"))
        await super()._handle_events([event])

    async def _take(self, event: DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            # More of a body whose request has its answer: Hypercorn knows it no more, and would fail.
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        # Other streams may go on whatever becomes of this one's body; it may once that is taken.
        self._uncredited += event.flow_controlled_length
        if event.data:
            await stream.handle(Body(stream_id=event.stream_id, data=event.data))
        if padding := event.flow_controlled_length - len(event.data):
            await self._give_back(event.stream_id, padding)

    async def _give_back(self, stream_id: int, size: int) -> None:
        """Let a client send so many bytes more of a body."""
        with suppress(ProtocolError, KeyError):  # it has ended
            self.connection.increment_flow_control_window(size, stream_id)
            await self._flush()


def install() -> None:
    """Let Hypercorn use it; it has no setting for that."""
    hypercorn.protocol.h2.StreamBuffer = _Buffer  # type: ignore[misc]  # a subclass
    hypercorn.protocol.H2Protocol = SteadyH2Protocol  # type: ignore[assignment, attr-defined]  # a subclass; imported there, not exported
