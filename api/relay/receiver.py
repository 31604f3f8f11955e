"""The api's side of the relay: the process's one subscription, from frames to waiting requests.

It acknowledges what arrived, asks again for what is missing, and judges who is silent. Nobody is
judged while this process itself has no Redis, nor for one heartbeat bound after it came back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from api.relay.delivery import Delivery
from api.relay.liveness import LivenessJudge
from api.relay.signals import RETRY_S, SignalSender
from shared.errors import InternalFault, StreamBroken
from shared.process.outage import OutageLog
from shared.process.tasks import end_all, spawn_critical
from shared.redis.client import UNREACHABLE, state_of
from shared.redis.names import API_SET, NEWS_CHANNEL, api_key, open_requests, relay_channel, since_key
from shared.redis.subscription import next_message, subscription
from shared.relay import EVERYTHING, ID_SIZE, CancelReason, Kind, Signal, decode_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from api.relay.incoming import IncomingStream
    from api.routing.load import Load
    from shared.settings import Settings
    from shared.types import Target

_log = logging.getLogger(__name__)

SETTLE_S: Final = 1.0
SINCE_LIFE_S: Final = 86_400
"""Of a process that has ended: as long as somebody may still say how a request of it ended."""
SETTLE_LOOK_S: Final = 0.02


class RelayReceiver:
    """Connects frames with the attempts that wait for them.

    Args:
        settings: the heartbeat and its bound.
        redis: connections that every part shares.
        api_id: this process, 16 bytes.
        on_news: called with each message of the news channel, and with b"reconnected" after an outage.
        load_of: gives what the live workers of a queue can do; None where there is none.
        fault_of: gives what Redis refuses a worker; empty where it refuses nothing.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        api_id: bytes,
        *,
        on_news: Callable[[bytes], None],
        load_of: Callable[[str], Load | None],
        fault_of: Callable[[], str] = str,
    ) -> None:
        self.api_id = api_id
        self.is_aborted = False
        self._settings = settings
        self._redis = redis
        self._on_news = on_news
        self._deliveries: dict[bytes, Delivery] = {}
        self.gaps = 0
        self._signals = SignalSender(redis, api_id)
        self._judge = LivenessJudge(
            settings, redis, self._deliveries, load_of, lambda: state_of(redis).fault or fault_of()
        )
        self._ready = asyncio.Event()
        self._outage = OutageLog(_log, "Redis", "relay")
        self._judging_from = 0.0
        self._connected_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Subscribe, before anything is enqueued."""
        self._tasks = [
            spawn_critical(self._listen(), name="relay"),
            spawn_critical(self._signals.run(), name="signals"),
            spawn_critical(self._beat(), name="beat"),
        ]

    async def settle(self) -> None:
        """Wait until the workers have said that what was cancelled has stopped, `SETTLE_S` seconds at most."""
        deadline = time.monotonic() + SETTLE_S
        while self._deliveries and time.monotonic() < deadline:
            await asyncio.sleep(SETTLE_LOOK_S)

    async def stop(self) -> None:
        """Send the last acknowledgements and close."""
        # Before the tasks end: an acknowledgement that is not sent lets the worker keep and resend its frames.
        await self._signals.flush()
        await end_all(*self._tasks)
        try:
            await self._redis.delete(api_key(self.api_id.hex()))
            if not await self._redis.hlen(open_requests(self.api_id.hex())):  # type: ignore[misc]  # redis-py: or awaitable
                # What is still open stays known to the recorders, should its worker never close it.
                await self._redis.srem(API_SET, self.api_id.hex())  # type: ignore[misc]  # redis-py: or awaitable
        except UNREACHABLE:
            _log.warning("Redis does not answer: this process's key will expire")

    @property
    def connected(self) -> bool:
        """Return whether frames can arrive."""
        return self._ready.is_set()

    # --- what requests call ---

    def expect(self, stream: IncomingStream, on_overrun: Callable[[], None]) -> None:
        """Wait for the frames of an attempt from now on; `on_overrun` is called when its client reads too slowly."""
        self._deliveries[stream.key] = Delivery(stream, on_overrun)

    def moved(self, stream: IncomingStream, target: Target, patience_s: float) -> None:
        """Record that the attempt waits in the queue of `target` from now on, for so many seconds at most."""
        stream.move(target)
        if (delivery := self._deliveries.get(stream.key)) is not None:
            delivery.moved(patience_s)

    def has_worker(self, stream: IncomingStream) -> bool:
        """Return whether a worker has said that it has the attempt."""
        delivery = self._deliveries.get(stream.key)
        return delivery is not None and delivery.worker is not None

    @property
    def open_attempts(self) -> int:
        """Return how many attempts are followed now."""
        return len(self._deliveries)

    def forget(self, stream: IncomingStream) -> None:
        """Wait no longer: the attempt is superseded or over, and late frames are answered with a cancellation."""
        delivery = self._deliveries.pop(stream.key, None)
        if delivery is not None and delivery.worker is not None and not stream.over:
            self._signals.add(delivery.worker, stream.key, Signal.CANCEL, 0)

    def cancel(self, stream: IncomingStream, reason: CancelReason, on_end: Callable[[], None]) -> None:
        """Stop the attempt, and listen until it says that it ended, or its worker is found dead: then call `on_end`."""
        stream.discard()
        if (delivery := self._deliveries.get(stream.key)) is None:
            return
        delivery.cancel(reason, on_end)
        if delivery.worker is not None:
            self._signals.add(delivery.worker, stream.key, Signal.CANCEL, reason)

    # --- frames in ---

    async def _listen(self) -> None:
        own = relay_channel(self.api_id)
        while True:
            try:
                async with subscription(self._redis, own, NEWS_CHANNEL) as pubsub:
                    # Only once the subscription stands: asked for earlier, frames might be sent before we listen.
                    self._came_back()
                    while True:
                        channel, message = await next_message(pubsub, self._settings.heartbeat_bound_s)
                        self._handle(message, is_own=channel == own.encode())
            except UNREACHABLE as error:
                self._outage.failed(error)
            finally:
                self._ready.clear()
            await asyncio.sleep(RETRY_S)

    def _came_back(self) -> None:
        # Heartbeats of the outage were lost. Workers get one bound to be heard again before anyone is judged.
        self._judging_from = time.monotonic() + self._settings.heartbeat_bound_s
        self._ready.set()
        self._outage.answered()
        self._on_news(b"reconnected")
        for delivery in self._deliveries.values():
            self._request_resend(delivery, time.monotonic())

    def _handle(self, message: bytes, *, is_own: bool) -> None:
        """Handle a message such that one which cannot be handled harms nothing but what it is about."""
        try:
            if is_own:
                self._feed(message)
            else:
                self._on_news(message)
        except Exception:  # noqa: BLE001 -- what others send must not end the process
            _log.exception("a message of %d bytes cannot be handled and is dropped", len(message))

    def _feed(self, message: bytes) -> None:
        worker, now = message[:ID_SIZE], time.monotonic()
        for key, kind, sequence, tokens, payload in decode_frames(message):
            delivery = self._deliveries.get(key)
            if delivery is None:
                # Superseded or over: the worker shall stop, and keep nothing for us.
                self._signals.add(worker, key, Signal.CANCEL, 0)
                self._signals.add(worker, key, Signal.ACK, EVERYTHING)
                continue
            if not delivery.heard(worker, now):
                # A job that was claimed twice, after a Redis that lost its last second.
                self._signals.add(worker, key, Signal.CANCEL, CancelReason.SUPERSEDED)
                self._signals.add(worker, key, Signal.ACK, EVERYTHING)
                continue
            if delivery.cancelled is not None:
                # Again with every sign of life: pub/sub may have lost it the first time.
                self._signals.add(worker, key, Signal.CANCEL, delivery.cancelled[0])
            # A gap. What follows it is dropped: the worker sends all of it again. A beat carries the number of the next
            # frame, so that a last one that was lost is missed too.
            if sequence > delivery.expected:
                self._request_resend(delivery, now)
            elif kind != Kind.BEAT:
                self._accept(delivery, kind, sequence, tokens, payload)

    def _request_resend(self, delivery: Delivery, now: float) -> None:
        if delivery.may_request_resend(now) and delivery.worker is not None:
            self.gaps += 1
            self._signals.add(delivery.worker, delivery.stream.key, Signal.RESEND, delivery.expected)

    def _accept(self, delivery: Delivery, kind: int, sequence: int, tokens: int, payload: bytes) -> None:
        stream = delivery.stream
        if sequence == delivery.expected:
            delivery.arrived(len(payload))
            try:
                stream.accept(kind, tokens, payload)
            except Exception:  # noqa: BLE001 -- whatever is wrong with it, it is about this attempt
                self._fail(delivery)
            # A whole body is not read before its end, however quick its client is.
            is_overrun = stream.size > self._settings.client_buffer_bytes and not stream.whole
            if is_overrun and delivery.cancelled is None:
                delivery.on_overrun()
        # Not before its worker says so, whatever the outcome for its client is: until then the reason is said again.
        if stream.has_reported and delivery.cancelled is not None and stream.key in self._deliveries:
            del self._deliveries[stream.key]
            delivery.cancelled[1]()
        # Also for a frame that was here before: it came again because its acknowledgement was lost.
        self._signals.acknowledge(delivery)

    def _fail(self, delivery: Delivery) -> None:
        """End an attempt of which a frame cannot be read: that one, and no other."""
        stream = delivery.stream
        _log.exception("attempt %s: a frame cannot be read", stream.job_id)
        stream.fail(InternalFault("The gateway failed on this request."))
        if delivery.worker is not None:
            self._signals.add(delivery.worker, stream.key, Signal.CANCEL, CancelReason.FAULT)

    # --- time ---

    async def _beat(self) -> None:
        """Publish at each heartbeat that this process lives, and judge the silent workers."""
        bound_s = self._settings.heartbeat_bound_s
        identity = self.api_id.hex()
        since_ms: int | None = int(time.time() * 1000)
        beat_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now - beat_at > bound_s:
                # This process was stopped for a while, and has not read yet what came meanwhile.
                self._judging_from, self._connected_at = now + bound_s, now
            beat_at = now
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.set(api_key(identity), b"1", px=int(bound_s * 1000))
            # At each beat, not once: a Redis that lost its data must learn of this process again.
            pipeline.sadd(API_SET, identity)
            # Written anew, Redis has lost its data: it knows nothing of what was admitted before.
            pipeline.set(since_key(identity), since_ms or int(time.time() * 1000), nx=True)
            pipeline.expire(since_key(identity), SINCE_LIFE_S)
            # To ourselves: on an idle relay a subscription that hears nothing for a bound is dead (`next_message`).
            pipeline.publish(relay_channel(self.api_id), bytes(ID_SIZE))
            try:
                await pipeline.execute()
                since_ms = None
                self._judge.note_beat(None)
                if self.connected and time.monotonic() > self._judging_from:
                    await self._judge.judge()
            except UNREACHABLE as error:
                self._judging_from = time.monotonic() + bound_s
                self._judge.note_beat(error)
            self._end_outage()
            self._keep_alive()
            await asyncio.sleep(self._settings.heartbeat_s)

    def _end_outage(self) -> None:
        """Fail every attempt that somebody waits for when Redis stays away too long."""
        now = time.monotonic()
        if self.connected:
            self._connected_at = now
        elif now - self._connected_at > self._settings.redis_outage_s:
            for delivery in list(self._deliveries.values()):
                delivery.stream.fail(
                    StreamBroken("The gateway has lost its queue (Redis).", code="queue_lost", retry_after_s=5)
                )

    def _keep_alive(self) -> None:
        now = time.monotonic()
        for delivery in list(self._deliveries.values()):
            if now - delivery.stream.taken_at >= self._settings.keep_alive_s:
                delivery.stream.keep_alive_tick()
