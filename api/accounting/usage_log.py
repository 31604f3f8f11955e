"""What this process has to write into the usage log, out of every request's way.

Steps wait here while Redis is down and go out together, in their order, when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from shared.process.tasks import end_all, spawn_critical
from shared.redis.client import UNREACHABLE
from shared.redis.names import USAGE_STREAM, in_progress_key, job_key
from shared.usage import Closes, Closing, finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from shared.usage import UsageRecord

_log = logging.getLogger(__name__)

MOST_STEPS: Final = 100_000
BATCH: Final = 500
RETRY_S: Final = 0.5


class UsageLogWriter:
    """Closes requests in the usage log, and records those that were never open.

    Args:
        redis: connections that every part shares.
        api_id: this process, in hex digits.
    """

    def __init__(self, redis: Redis, api_id: str) -> None:
        self._redis = redis
        self._api_id = api_id
        self._steps: deque[Callable[[Pipeline], object]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = spawn_critical(self._write_loop(), name="usage log")

    async def stop(self) -> None:
        """Write what is left, as far as Redis takes it."""
        await end_all(self._task)
        while self._steps and await self._write():
            pass

    def add(self, record: UsageRecord) -> None:
        """Record a request that was never open: refused, or answered without a model."""
        words = msgspec.json.encode(record)
        self._later(lambda pipeline: pipeline.xadd(USAGE_STREAM, {b"r": words}))

    def close(self, record: UsageRecord, job_id: str) -> None:
        """Record how an open request ended, unless somebody did so before; remove its job, settle its budget."""
        self._finish(record, job_id, Closes.OPEN)

    def refuse_in_doubt(self, record: UsageRecord, job_id: str) -> None:
        """Record a request that Redis may have opened or not: it is refused either way."""
        self._finish(record, job_id, Closes.NEW)

    def _finish(self, record: UsageRecord, job_id: str, closes: Closes) -> None:
        closing = Closing.of(record, closes, api_id=self._api_id, job_id=job_id)
        self._later(lambda pipeline: finish(pipeline, closing))

    def drop(self, job_id: str) -> None:
        """Remove the job of an attempt that nobody will end; its request is left as it is."""
        self._later(lambda pipeline: pipeline.delete(job_key(job_id), in_progress_key(job_id)))

    def _later(self, step: Callable[[Pipeline], object]) -> None:
        if len(self._steps) >= MOST_STEPS:
            _log.error("usage is lost: Redis is down and too much waits to be logged")
            return
        self._steps.append(step)
        self._wake.set()

    async def _write_loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._steps:
                if not await self._write():
                    await asyncio.sleep(RETRY_S)

    async def _write(self) -> bool:
        batch = list(islice(self._steps, BATCH))
        pipeline = self._redis.pipeline(transaction=False)
        for step in batch:
            step(pipeline)
        try:
            await pipeline.execute()
        except UNREACHABLE:
            return False
        for _ in batch:
            self._steps.popleft()
        return True
