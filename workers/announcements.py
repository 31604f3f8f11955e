"""Announcements of a worker process: what it serves, again and again, so that silence means death."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

import msgspec

from shared.process.outage import OutageLog
from shared.redis import probe
from shared.redis.client import UNREACHABLE
from shared.redis.names import NEWS_CHANNEL, QUEUES, WORKERS, control_channel, draining_key, worker_key
from shared.types import Announcement, BackendInfo, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from shared.queue.arq_queue import QueueWorker
    from shared.settings import Settings
    from workers.backends.backend import Backend

_log = logging.getLogger(__name__)


class Announcements:
    """Publishes what a worker process serves.

    Args:
        settings: how long an announcement holds.
        redis: connections that every part shares.
        worker_id: the process, 16 bytes.
        tier: what it is for.
        backends: the upstreams it serves.

    Attributes:
        fault: what Redis refuses of what answers need, as of the last announcement; empty where it refuses nothing.
        is_draining: whether it takes nothing more.
    """

    def __init__(
        self, settings: Settings, redis: Redis, worker_id: bytes, tier: Tier, backends: Sequence[Backend]
    ) -> None:
        self.fault = ""
        self.is_draining = False
        self._settings = settings
        self._redis = redis
        self._worker_id = worker_id
        self._tier: Tier = tier
        self._backends = backends
        self._announced: list[BackendInfo] | None = None
        self._since_ms = int(time.time() * 1000)
        self._outage = OutageLog(_log, "Redis")

    async def publish(self, queues: Iterable[QueueWorker], *, running: int) -> bool:
        """Publish what is served now; return whether the operator asks this process to end.

        Args:
            queues: the marks of their running jobs are extended with it.
            running: how many attempts run.
        """
        self.fault = await probe.fault_of(self._redis, self.fault)
        identity, backends = self._worker_id.hex(), self._offered()
        # How long attempts take is no news: it changes with every few of them, and is read with the next look.
        news = [
            msgspec.structs.replace(backend, service_ms=0, ms_per_token=0, ended_per_minute=0) for backend in backends
        ]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.exists(draining_key(identity))
        announcement = msgspec.json.encode(self._announcement(backends, running))
        pipeline.set(worker_key(identity), announcement, px=int(self._settings.heartbeat_bound_s * 1000))
        # With each beat: an api process takes a worker that was silent out of the set.
        pipeline.sadd(WORKERS, identity)
        # To ourselves: a subscription that hears nothing for a bound is dead, however idle the api is.
        pipeline.publish(control_channel(self._worker_id), self._worker_id)
        for queue in queues:
            queue.renew(pipeline)
        if news != self._announced:
            pipeline.publish(NEWS_CHANNEL, b"workers")
        if backends:
            pipeline.sadd(QUEUES, *(backend.queue for backend in backends))
        try:
            shall_end, *_ = await pipeline.execute()
        except UNREACHABLE as error:
            self._outage.failed(error)
            return False
        # Only now: news that did not get through must be published again.
        self._announced = news
        self._outage.answered()
        return bool(shall_end)

    async def retire(self) -> None:
        """Take the announcement back: the process ends."""
        identity = self._worker_id.hex()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(worker_key(identity), draining_key(identity))
        pipeline.srem(WORKERS, identity)
        pipeline.publish(NEWS_CHANNEL, b"workers")
        try:
            await pipeline.execute()
        except UNREACHABLE as error:
            _log.warning("Redis does not answer (%s): the announcement will expire", type(error).__name__)

    def _offered(self) -> tuple[BackendInfo, ...]:
        offered = () if self.fault else self._backends
        backends = tuple(backend.info() for backend in offered if backend.is_offered)
        if self.is_draining:
            # What waits is still served, by whoever comes next; what comes now goes elsewhere if it can.
            backends = tuple(msgspec.structs.replace(backend, slots=0) for backend in backends)
        return backends

    def _announcement(self, backends: tuple[BackendInfo, ...], running: int) -> Announcement:
        return Announcement(
            self._worker_id.hex(),
            self._tier,
            backends,
            self.fault,
            host=socket.gethostname(),
            pid=os.getpid(),
            since_ms=self._since_ms,
            is_draining=self.is_draining,
            running=running,
        )
