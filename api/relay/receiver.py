"""The api's side of the relay: the process's one subscription, from frames to waiting requests.

It acknowledges what arrived, asks again for what is missing, and judges who is silent. Nobody is
judged while this process itself has no Redis, nor for one heartbeat bound after it came back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from api.relay.incoming import Inbound
from shared.errors import Draining, Overloaded, StreamBroken, WorkerLost
from shared.process.tasks import end_all, spawn_critical
from shared.redis.client import UNREACHABLE, next_message, subscription
from shared.redis.names import API_SET, NEWS_CHANNEL, api_key, control_channel, open_requests, relay_channel
from shared.relay import EVERYTHING, ID_SIZE, CancelReason, Kind, Signal, decode_frames, encode_signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from shared.settings import Settings

_log = logging.getLogger(__name__)

RETRY_S: Final = 0.25
RESEND_S: Final = 0.2
SETTLE_S: Final = 1.0
SETTLE_LOOK_S: Final = 0.02
ACKNOWLEDGE_S: Final = 0.1
ACKNOWLEDGE_BYTES: Final = 512 * 1024


class RelayClient:
    """Connects frames with the attempts that wait for them.

    Args:
        settings: the heartbeat and its bound.
        redis: connections that every part shares.
        api_id: this process, 16 bytes.
        on_news: called with each message of the news channel, and with b"reconnected" after an outage.
        is_served: whether some live worker takes the jobs of a queue.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        api_id: bytes,
        *,
        on_news: Callable[[bytes], None],
        is_served: Callable[[str], bool],
    ) -> None:
        self.api_id = api_id
        self._settings = settings
        self._redis = redis
        self._on_news = on_news
        self._is_served = is_served
        self._inbounds: dict[bytes, Inbound] = {}
        self._signals: dict[bytes, dict[tuple[bytes, Signal], bytes]] = {}
        self._unacknowledged: dict[bytes, Inbound] = {}
        self._signal_wake = asyncio.Event()
        self._acknowledging: asyncio.TimerHandle | None = None
        self._ready = asyncio.Event()
        self._judging_from = 0.0
        self._connected_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Subscribe, before anything is enqueued."""
        self._tasks = [
            spawn_critical(self._listen(), name="relay"),
            spawn_critical(self._send_signals(), name="signals"),
            spawn_critical(self._beat(), name="beat"),
        ]

    def cut(self) -> None:
        """End every attempt that somebody still waits for: this process drains, and its time is up."""
        for inbound in list(self._inbounds.values()):
            if inbound.abandoned is None:
                inbound.cut(Draining("This gateway process is shutting down.", retry_after_s=1))

    async def settle(self) -> None:
        """Wait for the word of the workers that what was cancelled has stopped, `SETTLE_S` seconds at most."""
        deadline = time.monotonic() + SETTLE_S
        while self._inbounds and time.monotonic() < deadline:
            await asyncio.sleep(SETTLE_LOOK_S)

    async def stop(self) -> None:
        """Send the last acknowledgements and close."""
        await self._publish_signals()
        await end_all(*self._tasks)
        try:
            await self._redis.delete(api_key(self.api_id.hex()))
            if not await self._redis.hlen(open_requests(self.api_id.hex())):  # type: ignore[misc]
                # What is still open stays known to the recorders, should its worker never close it.
                await self._redis.srem(API_SET, self.api_id.hex())  # type: ignore[misc]
        except UNREACHABLE:
            _log.warning("Redis does not answer: this process's key will expire")

    @property
    def connected(self) -> bool:
        """Whether frames can arrive now."""
        return self._ready.is_set()

    def __len__(self) -> int:
        """How many attempts are waited for."""
        return len(self._inbounds)

    def expect(self, inbound: Inbound) -> None:
        """Wait for the frames of an attempt from now on."""
        self._inbounds[inbound.key] = inbound

    def forget(self, inbound: Inbound) -> None:
        """The attempt is superseded or over: late frames are answered with a cancellation."""
        self._inbounds.pop(inbound.key, None)
        if inbound.worker is not None and not inbound.over:
            self._signal(inbound.worker, inbound.key, Signal.CANCEL, 0)

    def cancel(self, inbound: Inbound, reason: CancelReason, on_lost: Callable[[Inbound], None]) -> None:
        """Stop the attempt; it is listened to until it says that it ended, or its worker is found dead."""
        inbound.abandon(reason, on_lost)
        if inbound.worker is not None:
            self._signal(inbound.worker, inbound.key, Signal.CANCEL, reason)

    # --- frames in ---

    async def _listen(self) -> None:
        own = relay_channel(self.api_id)
        while True:
            try:
                async with subscription(self._redis, own, NEWS_CHANNEL) as pubsub:
                    self._came_back()
                    while True:
                        channel, words = await next_message(pubsub, self._settings.heartbeat_bound_s)
                        if channel == own.encode():
                            self._feed(words)
                        else:
                            self._on_news(words)
            except UNREACHABLE as error:
                _log.warning("relay: Redis does not answer (%s)", type(error).__name__)
            finally:
                self._ready.clear()
            await asyncio.sleep(RETRY_S)

    def _came_back(self) -> None:
        self._judging_from = time.monotonic() + self._settings.heartbeat_bound_s
        self._ready.set()
        self._on_news(b"reconnected")
        for inbound in self._inbounds.values():
            self._ask_again(inbound, time.monotonic())

    def _feed(self, message: bytes) -> None:
        worker, now = message[:ID_SIZE], time.monotonic()
        for key, kind, sequence, tokens, payload in decode_frames(message):
            inbound = self._inbounds.get(key)
            if inbound is None:
                self._signal(worker, key, Signal.CANCEL, 0)
                self._signal(worker, key, Signal.ACK, EVERYTHING)
                continue
            if inbound.worker is None:
                inbound.worker = worker
            elif inbound.worker != worker:
                # A job that was claimed twice, after a Redis that lost its last second: the first start holds.
                self._signal(worker, key, Signal.CANCEL, CancelReason.SUPERSEDED)
                self._signal(worker, key, Signal.ACK, EVERYTHING)
                continue
            inbound.seen_at = now
            if inbound.abandoned is not None:
                # Again with every sign of life: pub/sub may have lost it the first time.
                self._signal(worker, key, Signal.CANCEL, inbound.cancel_reason)
            if sequence > inbound.expected:
                self._ask_again(inbound, now)
            elif kind != Kind.BEAT:
                self._accept(inbound, kind, sequence, tokens, payload)

    def _ask_again(self, inbound: Inbound, now: float) -> None:
        if inbound.worker is not None and now - inbound.asked_at > RESEND_S:
            inbound.asked_at = now
            self._signal(inbound.worker, inbound.key, Signal.RESEND, inbound.expected)

    def _accept(self, inbound: Inbound, kind: int, sequence: int, tokens: int, payload: bytes) -> None:
        if sequence == inbound.expected:
            inbound.expected += 1
            inbound.unacknowledged += len(payload)
            inbound.accept(kind, tokens, payload)
            if inbound.size > self._settings.client_buffer_bytes and not inbound.whole and inbound.abandoned is None:
                inbound.overrun()
        self._unacknowledged[inbound.key] = inbound
        if inbound.over and inbound.abandoned is not None:
            self._inbounds.pop(inbound.key, None)
        if inbound.unacknowledged > ACKNOWLEDGE_BYTES:
            self._signal_wake.set()
        elif self._acknowledging is None:
            self._acknowledging = asyncio.get_running_loop().call_later(ACKNOWLEDGE_S, self._acknowledge)

    # --- signals out ---

    def _signal(self, worker: bytes, key: bytes, signal: Signal, sequence: int) -> None:
        self._signals.setdefault(worker, {})[key, signal] = encode_signal(key, signal, sequence)
        self._signal_wake.set()

    def _acknowledge(self) -> None:
        self._acknowledging = None
        self._signal_wake.set()

    async def _send_signals(self) -> None:
        while True:
            await self._signal_wake.wait()
            self._signal_wake.clear()
            if not await self._publish_signals():
                self._signal_wake.set()
                await asyncio.sleep(RETRY_S)

    async def _publish_signals(self) -> bool:
        acknowledged, self._unacknowledged = self._unacknowledged, {}
        signals, self._signals = self._signals, {}
        by_worker = {worker: list(entries.values()) for worker, entries in signals.items()}
        for inbound in acknowledged.values():
            inbound.unacknowledged = 0
            if inbound.worker is not None:
                entry = encode_signal(inbound.key, Signal.ACK, inbound.expected)
                by_worker.setdefault(inbound.worker, []).append(entry)
        if not by_worker:
            return True
        pipeline = self._redis.pipeline(transaction=False)
        for worker, entries in by_worker.items():
            pipeline.publish(control_channel(worker), self.api_id + b"".join(entries))
        try:
            await pipeline.execute()
        except UNREACHABLE:
            self._unacknowledged = acknowledged | self._unacknowledged
            for worker, unsent in signals.items():
                self._signals[worker] = unsent | self._signals.get(worker, {})
            return False
        return True

    # --- time ---

    async def _beat(self) -> None:
        """Once a heartbeat: say that this process lives, and judge who is silent."""
        life_ms = int(self._settings.heartbeat_bound_s * 1000)
        identity = self.api_id.hex()
        while True:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.set(api_key(identity), b"1", px=life_ms)
            pipeline.sadd(API_SET, identity)
            pipeline.publish(relay_channel(self.api_id), bytes(ID_SIZE))
            try:
                await pipeline.execute()
                if self.connected and time.monotonic() > self._judging_from:
                    await self._judge()
            except UNREACHABLE as error:
                _log.warning("Redis does not answer (%s)", type(error).__name__)
                self._judging_from = time.monotonic() + self._settings.heartbeat_bound_s
            self._end_outage()
            self._keep_alive()
            await asyncio.sleep(self._settings.heartbeat_s)

    def _end_outage(self) -> None:
        """When Redis stays away too long, whoever waits for frames is told so."""
        now = time.monotonic()
        if self.connected:
            self._connected_at = now
        elif now - self._connected_at > self._settings.redis_outage_s:
            for inbound in list(self._inbounds.values()):
                inbound.fail(
                    StreamBroken("The gateway has lost its queue (Redis).", code="queue_lost", retry_after_s=5)
                )

    def _keep_alive(self) -> None:
        now = time.monotonic()
        for inbound in list(self._inbounds.values()):
            if now - inbound.taken_at >= self._settings.keep_alive_s:
                inbound.nudge()

    async def _judge(self) -> None:
        now, bound = time.monotonic(), self._settings.heartbeat_bound_s
        doubtful = []
        for inbound in list(self._inbounds.values()):
            if inbound.over or now - inbound.seen_at <= bound:
                continue
            if inbound.worker is None:
                doubtful.append(inbound)
            else:
                self._lose(inbound)
        if not doubtful:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for inbound in doubtful:
            pipeline.zscore(inbound.target.queue, inbound.job_id)
        answers = await pipeline.execute()
        for position, inbound in enumerate(doubtful):
            self._judge_unstarted(inbound, now, waiting=answers[position] is not None)

    def _judge_unstarted(self, inbound: Inbound, now: float, *, waiting: bool) -> None:
        """A job that neither waits nor was started within the bound was claimed by one that died."""
        bound = self._settings.heartbeat_bound_s
        if waiting and now - inbound.enqueued_at > self._settings.queue_timeout_s:
            inbound.fail(Overloaded("The request waited too long for a free model.", retry_after_s=10))
        elif waiting and self._is_served(inbound.target.queue):
            inbound.seen_at = now
            inbound.doubted_at = None
        elif inbound.doubted_at is None:
            inbound.doubted_at = now
        elif now - inbound.doubted_at > bound:
            self._lose(inbound)

    def _lose(self, inbound: Inbound) -> None:
        _log.warning("attempt %s: its worker went silent", inbound.job_id)
        inbound.fail(WorkerLost("The worker that answered this request was lost.", retry_after_s=1))
        if inbound.abandoned is not None:
            self._inbounds.pop(inbound.key, None)
            inbound.abandoned(inbound)
