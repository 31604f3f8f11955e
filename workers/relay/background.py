"""The events of background responses: appended to a stream in Redis, for whoever asks for them.

No api process waits for them, so nothing is acknowledged: what Redis has taken is there. A little of it is kept for a
Redis that loses its last second. The interface is that of `RelaySender` and `OutgoingStream`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.ids import job_id
from shared.process.outage import OutageLog
from shared.process.tasks import end_all, spawn_critical
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import BACKGROUND_API, followed_key, job_key, open_response_key, response_events_key
from shared.relay import Kind
from shared.usage import finish
from workers.relay.outgoing import OutgoingStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from shared.usage import Closing, Finished

_log = logging.getLogger(__name__)

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of the events of one response that are kept. The oldest go first: who follows it is near the end."""
EVENTS_LIFE_MS: Final = 6 * 3600 * 1000
"""Longer than an answer takes; its end gives them another life (`response.lua`)."""
GATHER_S: Final = 0.1
"""Time that tokens wait for company: each append costs Redis an entry."""
KEPT_S: Final = 5.0
UNSENT_BYTES: Final = 8 * 1024 * 1024
"""So much waits for a Redis that is away; then the upstream is read no further."""
RETRY_S: Final = 0.2
SUPERSEDED: Final = -1


class _Piece(NamedTuple):
    """Events: the number of the first, how many, their tokens and bytes, and when they were appended."""

    first: int
    events: int
    tokens: int
    payload: bytes
    at: float


class BackgroundStream:
    """The events of one attempt, until Redis has them.

    Args:
        key: the attempt's key on the relay.
        on_change: called with the stream when it has something to send.
    """

    def __init__(self, key: bytes, on_change: Callable[[BackgroundStream], None]) -> None:
        self.key = key
        self.request_id, self.attempt = key[:-1].hex(), key[-1]
        self.closing: Closing | None = None
        self.is_ended = False
        self.served = self.failure = b""
        self._on_change = on_change
        self._unsent: list[tuple[bytes, int]] = []
        self._unsent_bytes = 0
        self._pieces: deque[_Piece] = deque()
        self._next = 0
        self._has_room = asyncio.Event()

    # --- what an attempt calls ---

    def push(self, kind: Kind, payload: bytes = b"", tokens: int = 0, *, urgent: bool = False) -> None:
        """Take what the attempt says. `urgent` is nothing here: nobody waits for a first token."""
        del urgent
        if kind is Kind.START:
            self.served = payload
        elif kind is Kind.ERROR:
            self.failure = payload
        elif kind is Kind.CONTENT and payload:
            self._unsent.append((payload, tokens))
            self._unsent_bytes += len(payload)
        self._on_change(self)

    async def push_body(self, body: Sequence[bytes], tokens: int, timeout_s: float) -> None:
        """Raise: every answer of the background is streamed.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def end(self, closing: Closing | None) -> None:
        """End the stream; `closing`, if there is one, is carried out with what is left of it."""
        self.closing = closing
        self.is_ended = True
        self._on_change(self)

    async def room(self) -> None:
        """Wait while Redis is away and too much waits for it."""
        while self._unsent_bytes > UNSENT_BYTES:
            self._has_room.clear()
            await self._has_room.wait()

    async def pace(self) -> None:
        """Wait for nothing: what is appended gathers anyway."""

    # --- what its sender calls ---

    def gathered(self) -> _Piece:
        """Return what is to be appended next; it may be nothing, and then says that the attempt lives."""
        if self._unsent:
            payload = b"".join(part for part, _ in self._unsent)
            # An event ends with an empty line, and has no other.
            count, tokens = payload.count(b"\n\n"), sum(tokens for _, tokens in self._unsent)
            self._pieces.append(_Piece(self._next, count, tokens, payload, 0.0))
            self._next += count
            self._unsent.clear()
        return next((piece for piece in self._pieces if not piece.at), _Piece(self._next, 0, 0, b"", 0.0))

    def appended(self, there: int) -> None:
        """Take note that Redis has so many events; it may have lost some that it had."""
        now = time.monotonic()
        self._pieces = deque(
            piece._replace(at=(piece.at or now) if piece.first + piece.events <= there else 0.0)
            for piece in self._pieces
            if not piece.at or now - piece.at < KEPT_S or piece.first + piece.events > there
        )
        self._unsent_bytes = sum(len(piece.payload) for piece in self._pieces if not piece.at)
        self._unsent_bytes += sum(len(payload) for payload, _ in self._unsent)
        if self._unsent_bytes <= UNSENT_BYTES:
            self._has_room.set()

    @property
    def left_open_by(self) -> bytes:
        """Return how the attempt failed, where somebody else has to go on with its request."""
        is_left_open = self.closing is not None and not self.closing.record
        return self.failure if is_left_open and not self.has_unsent else b""

    @property
    def has_unsent(self) -> bool:
        """Return whether events wait."""
        return bool(self._unsent) or any(not piece.at for piece in self._pieces)


AttemptStream = OutgoingStream | BackgroundStream


class BackgroundSender:
    """All attempts of the background that one worker process runs.

    Args:
        redis: where events go.
        worker_id: this process, 16 bytes.
        on_superseded: called with the key of an attempt that another one took the place of, or whose request is over.
        finished: told of each request that this closes.
    """

    def __init__(
        self, redis: Redis, worker_id: bytes, *, on_superseded: Callable[[bytes], None], finished: Finished
    ) -> None:
        self.api_id = bytes.fromhex(BACKGROUND_API)
        self.streams: dict[bytes, BackgroundStream] = {}
        self._redis = redis
        self._worker = worker_id.hex()
        self._on_superseded = on_superseded
        self._finished = finished
        self._outage = OutageLog(_log, "Redis", "background")
        self._changed: set[bytes] = set()
        self._wake = asyncio.Event()
        self._task = spawn_critical(self._send(), name="background sender")

    def open(self, key: bytes) -> BackgroundStream:
        """Begin the stream of an attempt."""
        stream = self.streams[key] = BackgroundStream(key, self._note)
        return stream

    def acknowledge(self, key: bytes, sequence: int) -> None:
        """Do nothing: nobody acknowledges."""

    def resend(self, key: bytes, sequence: int) -> None:
        """Do nothing: nobody asks again."""

    def tick(self) -> None:
        """Publish of every attempt that it lives; called once a heartbeat."""
        self._changed.update(self.streams)
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Return whether nothing is left to be said."""
        return not self.streams

    async def close(self) -> None:
        """Stop sending."""
        await end_all(self._task)

    def _note(self, stream: BackgroundStream) -> None:
        self._changed.add(stream.key)
        self._wake.set()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            keys, self._changed = self._changed, set()
            for key in keys:
                if (stream := self.streams.get(key)) is not None and not await self._append(stream):
                    self._changed.add(key)
            if self._changed:
                self._wake.set()
                await asyncio.sleep(RETRY_S)

    async def _append(self, stream: BackgroundStream) -> bool:
        """Append what a stream has, or close it once there is nothing; return False where something is left to do."""
        is_last = stream.is_ended and not stream.has_unsent
        closing = stream.closing if is_last else None
        pipeline = self._redis.pipeline(transaction=closing is not None)
        served = stream.served
        self._add_append(pipeline, stream)
        if closing is not None:
            finish(pipeline, closing)
        try:
            there, *results = await pipeline.execute()
        except UNREACHABLE as error:
            self._outage.failed(error)
            return False
        self._outage.answered()
        if int(there) == SUPERSEDED:
            self.streams.pop(stream.key, None)
            if not stream.is_ended:
                self._on_superseded(stream.key)
            return True
        if stream.served is served:
            stream.served = b""
        stream.appended(int(there))
        if results and closing is not None:
            closing.report(int(results[0]), self._finished)
        if is_last:
            self.streams.pop(stream.key, None)
        return is_last or not (stream.has_unsent or stream.is_ended)

    def _add_append(self, pipeline: Pipeline, stream: BackgroundStream) -> None:
        piece = stream.gathered()
        name = stream.request_id
        keys = [open_response_key(name), response_events_key(name)]
        keys += [job_key(job_id(name, stream.attempt)), followed_key(name)]
        arguments: list[Any] = [name, stream.attempt, self._worker, piece.first, piece.events, piece.tokens]
        arguments += [piece.payload, MOST_BYTES, EVENTS_LIFE_MS]
        scripts.add(pipeline, scripts.BACKGROUND_APPEND, keys, *arguments, stream.left_open_by, stream.served)
