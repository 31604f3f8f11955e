"""A worker process: its backends, what it announces, and the signals that api processes send it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import Cancelled
from shared.ids import job_id
from shared.process.finished import log_finished
from shared.process.outage import OutageLog
from shared.process.tasks import Follower, end_all, first_of, spawn_critical
from shared.queue.arq_queue import QueueWorker, forget
from shared.redis.client import UNREACHABLE
from shared.redis.names import BACKGROUND_API, api_key, control_channel, job_key, open_requests, wake_channel
from shared.redis.subscription import next_message, subscription
from shared.relay import ID_SIZE, CancelReason, Signal, attempt_key, cancelled_for, decode_signals
from shared.types import Job, Tier
from shared.usage import ORPHANED
from workers.announcements import Announcements
from workers.attempts.attempt import Attempt
from workers.attempts.session_answer import answer_of
from workers.checkup import Checkup
from workers.relay.background import BackgroundSender
from workers.relay.sender import RelaySender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from shared.settings import Settings
    from shared.usage import Finished
    from workers.attempts.tracing import AttemptTracer
    from workers.backends.backend import Backend

_log = logging.getLogger(__name__)

RETRY_S: Final = 0.25
FLUSH_S: Final = 3.0
"""At the end, how long the last frames may take to be acknowledged."""


class WorkerProcess:
    """Runs attempts for any number of api processes.

    Args:
        settings: bounds and intervals.
        redis: connections that every part shares.
        tier: what this process is for.
        backends: the upstreams it serves; none is fine, it idles then.
        finished: told of each request that this process closes.
        tracer: makes the spans of attempts, where they are wanted.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        tier: Tier,
        backends: list[Backend],
        finished: Finished = log_finished,
        *,
        tracer: AttemptTracer | None = None,
    ) -> None:
        self.worker_id = os.urandom(ID_SIZE)
        self._settings = settings
        self._redis = redis
        self.backends = backends
        self._finished = finished
        self._tracer = tracer
        self._checkup = Checkup(redis, self.worker_id.hex(), tier, backends)
        self.resends = 0
        self._senders: dict[bytes, RelaySender | BackgroundSender] = {}
        self._attempts: dict[bytes, Attempt] = {}
        self._announcements = Announcements(settings, redis, self.worker_id, tier, backends)
        self.queues = {
            backend.queue: QueueWorker(
                redis,
                backend.queue,
                slots=self._claimable(backend),
                worker_id=self.worker_id.hex(),
                longest_s=settings.total_timeout_s,
                lease_s=settings.heartbeat_bound_s,
                run=self._runner(backend),
                may_help=backend.may_help,
            )
            for backend in backends
        }
        self._announcer = Follower(self._announce, settings.heartbeat_s)
        self._outage = OutageLog(_log, "Redis")
        self._drained = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then finish what runs within the drain time; or until the operator drains it, then all."""
        background = [
            spawn_critical(self._listen(), name="listen"),
            spawn_critical(self._beat(), name="beat"),
            spawn_critical(self._announcer.run(), name="announce"),
            *(
                spawn_critical(
                    backend.follow(self._settings.discovery_interval_s, self._announcer.wake), name=backend.queue
                )
                for backend in self.backends
            ),
        ]
        claiming = [spawn_critical(queue.main(), name=f"claim {name}") for name, queue in self.queues.items()]
        await first_of(stop.wait(), self._drained.wait())
        await self._drain(claiming, stop)
        await end_all(*background)
        # Last of all: until its attempts are over this worker must not be taken for dead.
        for sender in self._senders.values():
            await sender.close()
        await self._announcements.retire()
        for backend in self.backends:
            await backend.close()

    def announce(self) -> None:
        """Publish at once what is served now."""
        self._announcer.wake()

    async def _drain(self, claiming: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
        # Announced before the queues stop, so that the api sends what comes now elsewhere.
        self._announcements.is_draining = True
        self.announce()
        for queue in self.queues.values():
            queue.stop_claiming()
        await asyncio.gather(*claiming)
        running = [task for queue in self.queues.values() for task in queue.tasks.values()]
        if running:
            # Whom the operator drains has no haste, until it is stopped too.
            await first_of(stop.wait(), asyncio.wait(running))
        if running := [task for task in running if not task.done()]:
            _log.info("draining: %d attempts have %g s to end", len(running), self._settings.drain_s)
            _, late = await asyncio.wait(running, timeout=self._settings.drain_s)
            await end_all(*late)
        deadline = time.monotonic() + FLUSH_S
        while any(not sender.idle for sender in self._senders.values()) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _runner(self, backend: Backend) -> Callable[[Job], Awaitable[None]]:
        async def run(claimed: Job) -> None:
            key = attempt_key(claimed.request_id, claimed.attempt)
            job = await self._if_wanted(claimed)
            if job is None:
                await self._discard(claimed, backend.queue)
                return
            # Taken only now: a sender without streams is closed at the next heartbeat.
            sender = self._sender(job.api_id)
            # Redis lost its last second and gave the job out again, or the first run's end is not acknowledged yet.
            if key in sender.streams:
                return
            kept = answer_of(self._redis, job)
            span = None if self._tracer is None else self._tracer.begin(job, backend.queue, backend.provider, kept)
            attempt = Attempt(job, backend, sender.open(key), self._settings, span or kept)
            self._attempts[key] = attempt
            try:
                await attempt.run()
                backend.took(attempt.served_ms, attempt.count.completion_tokens)
                if attempt.has_failed:
                    backend.failed()
            finally:
                del self._attempts[key]
                if span is not None:
                    span.finish(attempt)

        return run

    def _claimable(self, backend: Backend) -> Callable[[], int]:
        return lambda: 0 if self._announcements.fault else backend.claimable()  # nobody would hear the answers

    async def _if_wanted(self, job: Job) -> Job | None:
        """Return a job, with its patience by our clock; None if its api process is dead, whose recorder closes it.

        One of the background is wanted while it is open. Asked only where the job waited for long, or seems to have:
        the clocks of two machines may differ. How long it has still to live is told by Redis.
        """
        now_ms = time.time() * 1000
        if abs(now_ms - job.admitted_ms) < self._settings.heartbeat_bound_s * 1000:
            return job
        pipeline = self._redis.pipeline(transaction=False)
        if job.api_id == BACKGROUND_API:
            pipeline.hexists(open_requests(job.api_id), job.request_id)
        else:
            pipeline.exists(api_key(job.api_id))
        pipeline.pttl(job_key(job_id(job.request_id, job.attempt)))
        try:
            is_wanted, left_ms = await pipeline.execute()
        except UNREACHABLE:
            return job
        if not is_wanted or left_ms <= 0:
            return job if is_wanted else None  # a PTTL below 0: no lifetime to measure by
        ahead_ms = int(now_ms - (job.expires_ms - left_ms))
        until_ms = job.patient_until_ms or job.admitted_ms + int(self._settings.queue_timeout_s * 1000)
        return msgspec.structs.replace(job, patient_until_ms=until_ms + ahead_ms)

    async def _discard(self, job: Job, queue: str) -> None:
        name = job_id(job.request_id, job.attempt)
        try:
            await forget(self._redis, queue, name)
        except UNREACHABLE as error:
            _log.warning("Redis does not answer (%s): job %s will expire", type(error).__name__, name)

    def _sender(self, api_id: str) -> RelaySender | BackgroundSender:
        identity = bytes.fromhex(api_id)
        sender = self._senders.get(identity)
        if sender is None and api_id == BACKGROUND_API:
            sender = self._senders[identity] = BackgroundSender(
                self._redis, self.worker_id, on_superseded=self._supersede, finished=self._finished
            )
        elif sender is None:
            sender = self._senders[identity] = RelaySender(
                self._redis,
                self.worker_id,
                identity,
                retain_s=self._settings.relay_retain_s,
                dead_s=self._settings.api_gone_s,
                on_dead=self._api_died,
                finished=self._finished,
            )
        return sender

    def _supersede(self, key: bytes) -> None:
        if (attempt := self._attempts.get(key)) is not None:
            attempt.cancel(cancelled_for(CancelReason.SUPERSEDED))

    def _api_died(self, api_id: bytes) -> None:
        _log.warning("api %s is gone: its attempts are cancelled", api_id.hex())
        for attempt in list(self._attempts.values()):
            if attempt.job.api_id == api_id.hex():
                attempt.cancel(Cancelled("The api process is gone.", code=ORPHANED))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            for identity, sender in list(self._senders.items()):
                sender.tick()
                if sender.idle:
                    del self._senders[identity]
                    await sender.close()

    async def _announce(self) -> None:
        shall_end = await self._announcements.publish(self.queues.values(), running=len(self._attempts))
        if shall_end and not self._drained.is_set():
            _log.info("the operator drains this worker: it ends when what runs here has ended")
            self._drained.set()

    async def _listen(self) -> None:
        """Handle wake-ups and signals. What a lost connection loses is sent again."""
        control = control_channel(self.worker_id).encode()
        wakes = wake_channel(self.worker_id.hex()).encode()
        queues = {name.encode(): queue for name, queue in self.queues.items()}
        silence_s = self._settings.heartbeat_bound_s
        while True:
            try:
                async with subscription(self._redis, control.decode(), wakes.decode()) as pubsub:
                    for queue in self.queues.values():
                        # A job may have been enqueued while nobody listened.
                        queue.wake()
                    while True:
                        channel, message = await next_message(pubsub, silence_s)
                        if channel == control:
                            self._handle(message)
                        elif message in queues:
                            queues[message].wake()
            except UNREACHABLE as error:
                self._outage.failed(error)
                await asyncio.sleep(RETRY_S)

    def _handle(self, message: bytes) -> None:
        """Handle an api process's signals; those that cannot be read are dropped, since they are sent again."""
        try:
            self._carry_out(message)
        except Exception:  # noqa: BLE001 -- what others send must not end the process
            _log.exception("signals of %d bytes cannot be handled and are dropped", len(message))

    def _carry_out(self, message: bytes) -> None:
        # Cancellations hold also where no sender is left: an attempt runs until it is cancelled.
        sender = self._senders.get(message[:ID_SIZE])
        for key, kind, sequence in decode_signals(message):
            if kind == Signal.CHECK:
                self._checkup.begin(message[:ID_SIZE])
            elif kind == Signal.CANCEL:
                attempt = self._attempts.get(key)
                if attempt is not None:
                    attempt.cancel(cancelled_for(sequence))
            elif sender is None:
                continue
            elif kind == Signal.ACK:
                sender.acknowledge(key, sequence)
            else:
                self.resends += 1
                sender.resend(key, sequence)
