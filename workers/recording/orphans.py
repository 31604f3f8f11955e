"""Closes the requests that a dead api process left open, so that every request is logged.

A live api process renews `claw:api:<id>`. One whose key is seen to be gone for as long as `Settings.api_gone_s`, by
the clock of Redis, is judged dead: each record in its hash of open requests goes to the usage stream as orphaned. One
recorder at a time looks, and forgets what it saw when it had no Redis in between: nobody is judged for the judge's own
trouble. It may be wrong all the same, so `finish.lua` lets what others know replace what is written here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from shared.dialects.stored.pending import ResponseEnd
from shared.models.catalogue import NANO_USD
from shared.openai.sessions.turn_end import TurnEnd
from shared.process.finished import log_finished
from shared.process.tasks import wait_or
from shared.queue.placement import MOST_ATTEMPTS
from shared.queue.story import with_event
from shared.redis.client import UNREACHABLE
from shared.redis.names import (
    API_SET,
    JANITOR_LOCK,
    api_key,
    budget_key_at,
    in_progress_key,
    job_key,
    kept_response_key,
    open_requests,
    reservation_field,
)
from shared.usage import ORPHANED, Closing, ClosingMode, UsageRecord, finish_now

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.usage import Finished

log: Final = logging.getLogger(__name__)

INTERVAL_S: Final = 5.0
LOCK_S: Final = 15.0
LONGEST_GAP_S: Final = 30.0
STATUS: Final = 499
_SCAN_COUNT: Final = 200

_decoder: Final = msgspec.json.Decoder(UsageRecord)


async def close_orphans(redis: Redis, stop: asyncio.Event, gone_s: float, finished: Finished = log_finished) -> None:
    """Close orphans every `INTERVAL_S` seconds until `stop` is set; the rest is as for `Janitor`."""
    janitor = Janitor(redis, gone_s=gone_s, finished=finished)
    while not stop.is_set():
        await janitor.look()
        await wait_or(stop, INTERVAL_S)
    await janitor.leave()


class Janitor:
    """The api processes as one recorder has seen them; only the holder of the lock looks.

    Args:
        redis: the client.
        gone_s: for how many seconds an api process must be seen to be gone.
        finished: told of each request that it closes.
    """

    def __init__(self, redis: Redis, *, gone_s: float, finished: Finished = log_finished) -> None:
        self._redis = redis
        self._finished = finished
        self._gone_s = gone_s
        self._token = secrets.token_hex(16).encode()
        self._missed: dict[str, float] = {}
        self._looked_at = float("-inf")

    async def look(self) -> int:
        """Close the orphans of now; return how many. Redis being down is no error here."""
        try:
            now = await self._now()
            # This process stood still, and what it saw before says nothing of now; or the time is another server's.
            if not 0 <= now - self._looked_at <= LONGEST_GAP_S:
                self._missed.clear()
            self._looked_at = now
            if await self._holds_lock():
                return await self._close_dead(now)
        except UNREACHABLE as error:
            log.info("cannot look for dead api processes now: %s", type(error).__name__)
        self._missed.clear()
        return 0

    async def _now(self) -> float:
        """Return the time of Redis, in seconds."""
        seconds, microseconds = await self._redis.time()
        return float(seconds + microseconds / 1e6)

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
        return sum([await self._close_all(api_id, now) for api_id in dead])

    async def _close_all(self, api_id: str, now: float) -> int:
        closed = 0
        async for request, raw in self._redis.hscan_iter(open_requests(api_id), count=_SCAN_COUNT):
            closed += await self._close(api_id, request.decode(), raw, now)
        # Last: should this process end before, the next one finds what is still open.
        await self._redis.srem(API_SET, api_id)  # type: ignore[misc]  # typed for both clients
        level = logging.WARNING if closed else logging.INFO
        log.log(level, "api process %s is gone; %d of its requests were closed as orphaned", api_id, closed)
        return closed

    async def _close(self, api_id: str, request: str, raw: bytes, now: float) -> int:
        """Close one request; 1 if nobody did before. A record that cannot be read goes on as it is, to be rejected."""
        names = [f"{request}-{attempt}" for attempt in range(1, MOST_ATTEMPTS + 1)]
        record = _decoded(raw)
        # Of a request without a session the script finds no turn.
        has_response = await self._redis.exists(kept_response_key(request))
        turn = ResponseEnd() if has_response else TurnEnd("broken")
        # Whichever of its jobs is named: all of them are deleted below.
        closing = Closing(api_id=api_id, request_id=request, job_id=names[0], record=raw, closes=ClosingMode.JUDGED)
        if record is not None:
            # What a worker had begun may have cost what was reserved for it; what only waited cost nothing.
            has_begun = await self._redis.exists(*map(in_progress_key, names))
            held = await self._held(record) if has_begun else 0
            orphaned = _orphaned(record, held, now)
            closing = Closing.of(orphaned, ClosingMode.JUDGED, api_id=api_id, job_id=names[0], turn=turn)
        closed = await finish_now(self._redis, closing, self._finished)
        await self._redis.delete(*map(job_key, names), *map(in_progress_key, names))
        return int(closed)

    async def _held(self, record: UsageRecord) -> int:
        """Return what a request has reserved of the budget, in billionths of a US dollar."""
        field = reservation_field(record.request_id)
        return int(await self._redis.hget(budget_key_at(record.admitted_ms), field) or 0)  # type: ignore[misc]  # redis-py: or awaitable


def _decoded(raw: bytes) -> UsageRecord | None:
    try:
        return _decoder.decode(raw)
    except msgspec.MsgspecError:
        return None


def _orphaned(record: UsageRecord, held: int, now: float) -> UsageRecord:
    """Return the record of an open request as it is closed, at a time in seconds; only paid attempts reserve."""
    story = with_event(record.story, "orphaned", "closed by a recorder: its api process was gone")
    closed = msgspec.structs.replace(
        record,
        story=story,
        status=STATUS,
        error_code=ORPHANED,
        duration_ms=max(0, int(now * 1000) - record.admitted_ms),
    )
    return msgspec.structs.replace(closed, tier="paid", cost_usd=held / NANO_USD) if held else closed
