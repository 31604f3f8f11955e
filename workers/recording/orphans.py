"""Closes the requests that a dead api process left open, so that every request is logged.

A live api process renews `claw:api:<id>`. One whose key is gone on two looks `GONE_S` apart is dead: each record in
its hash of open requests goes to the usage stream as orphaned. One recorder at a time looks, and forgets what it saw
when it had no Redis in between: nobody is judged for the judge's own trouble.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from shared.process.tasks import wait_or
from shared.queue.placement import MOST_ATTEMPTS
from shared.redis.client import UNREACHABLE
from shared.redis.names import API_SET, JANITOR_LOCK, api_key, in_progress_key, job_key, open_requests
from shared.usage import Closes, Closing, UsageRecord, finish_now
from workers.recording.rows import ORPHANED

if TYPE_CHECKING:
    from redis.asyncio import Redis

log: Final = logging.getLogger(__name__)

INTERVAL_S: Final = 5.0
LOCK_S: Final = 15.0
GONE_S: Final = 10.0
LONGEST_GAP_S: Final = 30.0
STATUS: Final = 499
_SCAN_COUNT: Final = 200

_decoder: Final = msgspec.json.Decoder(UsageRecord)


async def close_orphans(redis: Redis, stop: asyncio.Event) -> None:
    """Close orphans every `INTERVAL_S` seconds until `stop` is set."""
    janitor = Janitor(redis)
    while not stop.is_set():
        await janitor.look()
        await wait_or(stop, INTERVAL_S)
    await janitor.leave()


class Janitor:
    """What one process has seen of the api processes; only the holder of the lock looks.

    Args:
        redis: the client.
        gone_s: for how many seconds an api process must be seen to be gone.
    """

    def __init__(self, redis: Redis, *, gone_s: float = GONE_S) -> None:
        self._redis = redis
        self._gone_s = gone_s
        self._token = secrets.token_hex(16).encode()
        self._missed: dict[str, float] = {}
        self._looked_at = float("-inf")

    async def look(self) -> int:
        """Close the orphans of now; return how many. Redis being down is no error here."""
        now = time.monotonic()
        # This process stood still: what it saw before says nothing of now.
        if now - self._looked_at > LONGEST_GAP_S:
            self._missed.clear()
        self._looked_at = now
        try:
            if await self._holds_lock():
                return await self._close_dead(now)
        except UNREACHABLE as error:
            log.info("cannot look for dead api processes now: %s", type(error).__name__)
        self._missed.clear()
        return 0

    async def leave(self) -> None:
        """Release the lock, so that another process can look."""
        with suppress(*UNREACHABLE):
            # Another one's lock, taken after ours expired, is left alone.
            if await self._redis.get(JANITOR_LOCK) == self._token:
                await self._redis.delete(JANITOR_LOCK)

    async def _holds_lock(self) -> bool:
        life_ms = int(LOCK_S * 1000)
        if await self._redis.set(JANITOR_LOCK, self._token, nx=True, px=life_ms):
            return True
        return await self._redis.get(JANITOR_LOCK) == self._token and bool(
            await self._redis.pexpire(JANITOR_LOCK, life_ms)
        )

    async def _close_dead(self, now: float) -> int:
        members: set[bytes] = await self._redis.smembers(API_SET)  # type: ignore[misc]  # typed for both clients
        api_ids = sorted(member.decode() for member in members)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for api_id in api_ids:
                pipeline.exists(api_key(api_id))
            alive = await pipeline.execute()
        self._missed = {
            api_id: self._missed.get(api_id, now) for api_id, there in zip(api_ids, alive, strict=True) if not there
        }
        dead = [api_id for api_id, since in self._missed.items() if now - since >= self._gone_s]
        return sum([await self._close_all(api_id) for api_id in dead])

    async def _close_all(self, api_id: str) -> int:
        closed = 0
        async for request, raw in self._redis.hscan_iter(open_requests(api_id), count=_SCAN_COUNT):
            closed += await self._close(api_id, request.decode(), raw)
        # Last: should this process end before, the next one finds what is still open.
        await self._redis.srem(API_SET, api_id)  # type: ignore[misc]  # typed for both clients
        level = logging.WARNING if closed else logging.INFO
        log.log(level, "api process %s is gone; %d of its requests were closed as orphaned", api_id, closed)
        return closed

    async def _close(self, api_id: str, request: str, raw: bytes) -> int:
        """Close one request; 1 if nobody did before. A record that cannot be read goes on as it is, to be rejected."""
        names = [f"{request}-{attempt}" for attempt in range(1, MOST_ATTEMPTS + 1)]
        record = _decoded(raw)
        closing = Closing(api_id=api_id, request_id=request, job_id=names[0], record=raw)
        if record is not None:
            closing = Closing.of(_orphaned(record), Closes.OPEN, api_id=api_id, job_id=names[0])
        # What a worker had begun may have cost what was reserved for it; what only waited cost nothing.
        if await self._redis.exists(*map(in_progress_key, names)):
            closing = msgspec.structs.replace(closing, cost_nano_usd=None)
        closed = await finish_now(self._redis, closing)
        await self._redis.delete(*map(job_key, names), *map(in_progress_key, names))
        return int(closed)


def _decoded(raw: bytes) -> UsageRecord | None:
    try:
        return _decoder.decode(raw)
    except msgspec.MsgspecError:
        return None


def _orphaned(record: UsageRecord) -> UsageRecord:
    """Return the record of an open request as it is closed."""
    duration_ms = max(0, int(time.time() * 1000) - record.admitted_ms)
    return msgspec.structs.replace(record, status=STATUS, error_code=ORPHANED, duration_ms=duration_ms)
