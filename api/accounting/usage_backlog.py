"""The part of the usage log that waits in Redis for a recorder, and its bound."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from shared.process.tasks import Following
from shared.redis.client import UNREACHABLE
from shared.redis.names import USAGE_FAULT, USAGE_STREAM

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
LATE_S: Final = 60.0
"""A record that waits for longer is not being recorded: recorders take a tenth of a second."""


class UsageBacklog(Following):
    """Follows the stream of usage records.

    Args:
        redis: connections that every part shares.
        most: how many records may wait; with more no request is admitted.

    Attributes:
        is_full: whether so many wait.
        fault: what is wrong, for people; empty while records are recorded.
    """

    def __init__(self, redis: Redis, most: int) -> None:
        super().__init__(LOOK_S, name="usage backlog")
        self._redis = redis
        self._most = most
        self.is_full = False
        self.fault = ""

    async def look(self) -> None:
        """Count what waits, and how long it has; say it once when that is too much, and once when it is over."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xlen(USAGE_STREAM)
        pipeline.xrange(USAGE_STREAM, count=1)
        pipeline.time()
        pipeline.get(USAGE_FAULT)
        try:
            waiting, oldest, (now_s, _), fault = await pipeline.execute()
        except UNREACHABLE:
            return
        # The id of an entry is when it was added, by the clock of Redis.
        since_s = int(oldest[0][0].partition(b"-")[0]) // 1000 if oldest else now_s
        was_fault, was_full = bool(self.fault), self.is_full
        self.is_full = waiting >= self._most
        is_late = self.is_full or now_s - since_s > LATE_S
        # What a recorder notes of a fault outlives it by up to 30 s: it counts while something waits.
        why = fault.decode(errors="replace") if fault is not None and waiting else ""
        self.fault = self._fault(since_s, why) if is_late or why else ""
        # Once more when it becomes full: from then on requests are refused.
        if self.fault and (not was_fault or self.is_full > was_full):
            _log.error("%d records of usage wait. %s", waiting, self.fault)
        elif was_fault and not self.fault:
            _log.info("usage is recorded again; %d records wait", waiting)

    def _fault(self, since_s: int, why: str) -> str:
        # Without what changes all the time: /ready is logged when it says something else.
        since = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        full = f"; as many as CLAW_MAX_USAGE_RECORDS ({self._most}): no request is admitted" if self.is_full else ""
        why = f"The recorder cannot write: {why}" if why else "No recorder runs, or it cannot write (its log says why)."
        return f"Usage waits in Redis since {since}{full}. {why}"
