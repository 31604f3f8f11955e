"""The worker's side of the relay: what it has to send to one api process, until that has it.

Frames of all attempts for one api process go out together: whatever gathered while the last publish
was under way is one message. What is not acknowledged is kept and sent again after a gap, a lost
connection or a silence, so that nothing is lost when Redis forgets it (docs/decisions/0004-relay.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

from shared.process.outage import OutageLog
from shared.process.tasks import end_all, spawn_critical
from shared.redis.client import UNREACHABLE
from shared.redis.names import PROBE_KEYS, relay_channel
from shared.relay import Kind, encode_frame
from shared.usage import finish
from workers.relay.outgoing import OutgoingStream, SendWindow

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from shared.usage import Finished

_log = logging.getLogger(__name__)

MESSAGE_BYTES: Final = 1024 * 1024
SILENCE_S: Final = 2.0
RETRY_S: Final = 0.1
BUSY_STREAMS: Final = 8
TICK_S_PER_STREAM: Final = 0.0004
LONGEST_TICK_S: Final = 0.02
"""With many streams at once a token may wait a moment for company, so that each of them is read and written to less
often. Never the first token, never the end."""
READ_TOGETHER: Final = 64
"""Number of streams that are read in one turn of the loop; others get a word in between."""


class RelaySender:
    """All attempts that one worker process runs for one api process.

    Args:
        redis: where to publish.
        worker_id: this process, 16 bytes.
        api_id: that process, 16 bytes.
        retain_s: how long frames of an ended attempt are kept for an api process that does not answer.
        dead_s: how long the api process may have no subscription before it is taken for dead.
        on_dead: called once then; the attempts of that process are to be cancelled.
        finished: told of each request that this closes.
    """

    def __init__(
        self,
        redis: Redis,
        worker_id: bytes,
        api_id: bytes,
        *,
        retain_s: float,
        dead_s: float,
        on_dead: Callable[[bytes], None],
        finished: Finished,
    ) -> None:
        self.api_id = api_id
        self.streams: dict[bytes, OutgoingStream] = {}
        self._window = SendWindow()
        self._redis = redis
        self._worker_id = worker_id
        self._channel = relay_channel(api_id)
        self._retain_s = retain_s
        self._dead_s = dead_s
        self._on_dead = on_dead
        self._finished = finished
        self._unheard_since: float | None = None
        self._pending: dict[bytes, OutgoingStream] = {}
        self._waiting: dict[bytes, OutgoingStream] = {}
        self._outage = OutageLog(_log, "Redis", "relay")
        self._beats_due = False
        self._wake = asyncio.Event()
        self._ticking: asyncio.Handle | None = None
        self._paced: list[asyncio.Future[None]] = []
        self._turns: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._task = spawn_critical(self._publish_loop(), name=f"sender {api_id.hex()}")

    def open(self, key: bytes) -> OutgoingStream:
        """Begin the stream of an attempt."""
        stream = self.streams[key] = OutgoingStream(key, self._window, on_change=self._changed, pace=self._pace)
        return stream

    def _changed(self, stream: OutgoingStream, urgent: bool) -> None:  # noqa: FBT001 -- a callback has no names
        """Schedule `stream` for sending: now, or in a moment together with others when many are busy."""
        if urgent or len(self.streams) < BUSY_STREAMS:
            # What it had waiting for company goes along.
            self._waiting.pop(stream.key, None)
            self._pending[stream.key] = stream
            self._wake.set()
            return
        if stream.key not in self._pending:
            self._waiting[stream.key] = stream
        self._plan_tick()

    async def _pace(self) -> None:
        """Wait a moment before more is read from the upstream, where many streams run at once.

        Tokens gather in the connection meanwhile, and are read, encoded and sent together.
        """
        if len(self.streams) >= BUSY_STREAMS:
            # One for each: a future that several waited for would end for all of them with the first that is cancelled.
            turn = self._loop.create_future()
            self._paced.append(turn)
            self._plan_tick()
            await turn

    def _plan_tick(self) -> None:
        if self._ticking is None:
            tick_s = min(LONGEST_TICK_S, TICK_S_PER_STREAM * len(self.streams))
            self._ticking = self._loop.call_later(tick_s, self._tick)

    def _tick(self) -> None:
        """Let those read that wait for it, and send what they find together with what waits for company."""
        # Not those who come to wait meanwhile: with a fast upstream there would be no end, and nothing would be sent.
        self._turns, self._paced = self._paced, []
        self._read_on()

    def _read_on(self) -> None:
        turns, self._turns = self._turns[:READ_TOGETHER], self._turns[READ_TOGETHER:]
        for turn in turns:
            if not turn.done():
                turn.set_result(None)
        # Behind the readers, which are in the loop's queue now.
        self._ticking = self._loop.call_soon(self._read_on if self._turns else self._gathered)

    def acknowledge(self, key: bytes, sequence: int) -> None:
        """Drop the frames of `key` before `sequence`: the api process has them."""
        stream = self.streams.get(key)
        if stream is None:
            return
        stream.acknowledge(sequence)
        if stream.finished:
            del self.streams[key]

    def resend(self, key: bytes, sequence: int) -> None:
        """Send the frames of `key` again from `sequence` on: the api process misses them."""
        stream = self.streams.get(key)
        # Not where it is rewound that far already: an api process asks again after each gap that it sees.
        if stream is not None and sequence < stream.sent:
            stream.rewind(sequence)
            self._changed(stream, urgent=True)

    def tick(self) -> None:
        """Send heartbeats for the attempts that run, and resend what was not acknowledged; called once a heartbeat."""
        now = time.monotonic()
        for stream in list(self.streams.values()):
            if stream.ended_at is not None and now - stream.ended_at > self._retain_s:
                self._drop(stream)
            # All is sent and nothing is heard: the last message, or its acknowledgement, was lost.
            elif stream.frames and stream.sent == stream.next and now - stream.moved_at > SILENCE_S:
                stream.rewind()
                self._pending[stream.key] = stream
        self._beats_due = bool(self.streams)
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Return whether this api process is owed nothing."""
        return not self.streams

    async def close(self) -> None:
        """Stop publishing."""
        if self._ticking is not None:
            self._ticking.cancel()
        await end_all(self._task)

    def _drop(self, stream: OutgoingStream) -> None:
        """Forget what was not acknowledged; how it ended is still said, as soon as Redis takes it."""
        if stream.closing is not None:
            stream.acknowledge(stream.next)
            return
        self.streams.pop(stream.key, None)
        self._pending.pop(stream.key, None)
        self._waiting.pop(stream.key, None)
        stream.acknowledge(stream.next)

    def _gathered(self) -> None:
        self._ticking = None
        if self._waiting:
            self._pending |= self._waiting
            self._waiting.clear()
            self._wake.set()
        if self._paced:
            self._plan_tick()

    async def _publish_loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending or self._beats_due:
                if not await self._publish():
                    self._wake.set()
                    await asyncio.sleep(RETRY_S)
                    break

    def _beats(self) -> list[bytes]:
        if not self._beats_due:
            return []
        self._beats_due = False
        return [
            # The number that comes next, so that the api misses a last frame that was lost.
            encode_frame(stream.key, Kind.BEAT, stream.sent, 0, b"")
            for stream in self.streams.values()
            if stream.ended_at is None
        ]

    async def _publish(self) -> bool:
        """Publish one message; False when it did not reach the api process."""
        parts, taken = self._take()
        parts += self._beats()
        # Only with its last frame: a record that is closed earlier would count what is not sent yet.
        closings = [(stream, stream.closing) for stream in taken if stream.closing and stream.sent == stream.next]
        # Nor is one closed where the frame is refused.
        pipeline = self._redis.pipeline(transaction=bool(closings))
        if closings:
            # A server that is no master any more publishes, and refuses the closings alone: a client would have an end
            # that nobody has written down. This is a write in its eyes, so it refuses all of it.
            pipeline.delete(PROBE_KEYS[0])
        pipeline.publish(self._channel, b"".join([self._worker_id, *parts]))
        for _, closing in closings:
            finish(pipeline, closing)
        try:
            receivers, *results = (await pipeline.execute())[bool(closings) :]
        except UNREACHABLE as error:
            # What Redis refuses is said where it is found out (`shared/redis/server_state.py`).
            if not isinstance(error, ResponseError):
                self._outage.failed(error)
            self._unheard_since = None
            self._rewind_all()
            return False
        self._outage.answered()
        for (stream, closing), result in zip(closings, results, strict=True):
            closing.report(int(result), self._finished)
            stream.closing = None
            if stream.finished:
                self.streams.pop(stream.key, None)
        return self._heard(int(receivers))

    def _take(self) -> tuple[list[bytes], list[OutgoingStream]]:
        parts: list[bytes] = []
        taken: list[OutgoingStream] = []
        size = 0
        for key in list(self._pending):
            stream = self._pending[key]
            while stream.sent < stream.next and size < MESSAGE_BYTES:
                frame = stream.frames[stream.sent - stream.first]
                parts.append(frame)
                size += len(frame)
                stream.sent += 1
            taken.append(stream)
            # The message is full: this stream goes on with the next one, before the others.
            if stream.sent < stream.next:
                break
            del self._pending[key]
        return parts, taken

    def _heard(self, receivers: int) -> bool:
        # PUBLISH returns how many subscribers it reached: the api process has one subscription, or is not there.
        if receivers:
            # It is Redis that is away: that says nothing of the api process.
            self._unheard_since = None
            return True
        now = time.monotonic()
        if self._unheard_since is None:
            self._unheard_since = now
        elif now - self._unheard_since > self._dead_s:
            self._on_dead(self.api_id)
            for stream in list(self.streams.values()):
                # Those that run are cancelled, and closed by that; only what is closed may be dropped.
                if stream.ended_at is not None and stream.closing is None:
                    self._drop(stream)
        self._rewind_all()
        return False

    def _rewind_all(self) -> None:
        for stream in self.streams.values():
            stream.rewind()
            if stream.unsent:
                self._pending[stream.key] = stream
