"""Judges attempts: whose worker is silent, whose job is gone, who has waited for too long."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from api.admission.admit import QueueFaulty
from shared.errors import LostAtLargeAnswer, Overloaded, StreamBroken, WorkerLost
from shared.process.outage import OutageLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from api.relay.delivery import Delivery
    from api.routing.load import Load
    from shared.settings import Settings

_log = logging.getLogger(__name__)


class LivenessJudge:
    """Ends the attempts that nobody will end.

    Args:
        settings: the heartbeat bound.
        redis: where the queues are.
        deliveries: what is waited for; those that were cancelled are removed with their worker.
        load_of: gives what the live workers of a queue can do; None where there is none.
        fault_of: gives what Redis refuses us or a worker; empty where it refuses nothing.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        deliveries: dict[bytes, Delivery],
        load_of: Callable[[str], Load | None],
        fault_of: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._deliveries = deliveries
        self._load_of = load_of
        self._fault_of = fault_of
        self._refused_since: float | None = None
        self._outage = OutageLog(_log, "Redis", "beat")

    async def judge(self) -> None:
        """Judge every attempt that is waited for.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        now, bound = time.monotonic(), self._settings.heartbeat_bound_s
        doubtful = []
        for delivery in list(self._deliveries.values()):
            is_silent = now - delivery.seen_at > bound
            # Of one that was cancelled the outcome for its client is known, and its worker's end is not.
            if delivery.stream.over and delivery.cancelled is None:
                continue
            if delivery.worker is None and (is_silent or now > delivery.patient_until):
                # Only Redis knows whether it still waits; with a worker that said START, heartbeats are enough.
                doubtful.append(delivery)
            elif delivery.worker is not None and is_silent:
                self._lose(delivery)
        if not doubtful:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for delivery in doubtful:
            # One round trip for all of them, however many wait.
            pipeline.zscore(delivery.stream.target.queue, delivery.stream.job_id)
        answers = await pipeline.execute()
        for position, delivery in enumerate(doubtful):
            self._judge_unstarted(delivery, now, waiting=answers[position] is not None)

    def note_beat(self, error: Exception | None) -> None:
        """Record how this process's heartbeat failed, if it did; once it was refused for long, nobody waits on.

        What Redis refuses us it refuses workers too, as a rule. An attempt that one has is heard of by its frames, but
        for the last: it comes with what closes the request, and is waited for as long as for a Redis that is away.
        """
        now = time.monotonic()
        if error is None:
            self._outage.answered()
        else:
            self._outage.failed(error)
        self._refused_since = (self._refused_since or now) if isinstance(error, ResponseError) else None
        refused_s = 0.0 if self._refused_since is None else now - self._refused_since
        if refused_s <= self._settings.heartbeat_bound_s:
            return
        refused = QueueFaulty(self._fault_of())
        broken = StreamBroken(refused.message, code=refused.code, retry_after_s=refused.retry_after_s)
        for delivery in list(self._deliveries.values()):
            if delivery.cancelled is not None or delivery.stream.over:
                continue
            if delivery.worker is None:
                delivery.stream.fail(refused)
            elif refused_s > self._settings.redis_outage_s:
                delivery.stream.fail(broken)

    def _judge_unstarted(self, delivery: Delivery, now: float, *, waiting: bool) -> None:
        """Fail a job that waited too long, or that was claimed by a worker that died before it said so."""
        load = self._load_of(delivery.stream.target.queue)
        if waiting and now > delivery.patient_until:
            model = delivery.stream.target.model
            retry_after_s = None if load is None else load.next_start_s(model, time.time() * 1000)
            delivery.stream.fail(
                Overloaded(
                    "The request waited too long for its turn.", code="queue_timeout", retry_after_s=retry_after_s
                )
            )
        elif waiting and load is not None:
            # Only where a worker lives: a job in a queue that nobody serves is doubted too, and fails over.
            delivery.waits(now)
        elif (
            now - delivery.seen_at > self._settings.heartbeat_bound_s
            and delivery.doubted_s(now) > self._settings.heartbeat_bound_s
        ):
            # Silent for a bound and doubted for another: at the first look the job may just have been claimed, and its
            # START be under way.
            self._lose(delivery)

    def _lose(self, delivery: Delivery) -> None:
        stream = delivery.stream
        _log.warning("attempt %s: its worker went silent", stream.job_id)
        if fault := self._fault_of():
            # It may live, and not be able to say so.
            refused = QueueFaulty(fault)
            stream.fail(WorkerLost(refused.message, code=refused.code, retry_after_s=refused.retry_after_s))
        elif stream.is_large:
            stream.fail(LostAtLargeAnswer("The worker was lost while it read this request's answer, which is large."))
        else:
            stream.fail(WorkerLost("The worker that answered this request was lost.", retry_after_s=1))
        if delivery.cancelled is not None:
            # Nobody reads a cancelled attempt, so nobody else would close its request.
            self._deliveries.pop(stream.key, None)
            delivery.cancelled[1]()
