"""The usage stream into PostgreSQL, in batches, never in a request's way.

An entry leaves Redis only once its row is committed: an entry that is written twice is still one row. While PostgreSQL
is down everything waits in Redis, and after any failure what was delivered to us but not settled is read again. Any
number of recorders share the stream; what a dead one held is taken over after 20 s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from redis.exceptions import ResponseError

from shared.postgres.database import DatabaseUnavailable
from shared.process.tasks import wait_or
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import REJECTED_USAGE_STREAM, USAGE_FAULT, USAGE_STREAM
from shared.settings import host_name
from shared.usage import RECORD_BYTES
from workers.recording.responses import ResponseLog
from workers.recording.rows import MalformedRecord, UsageRow, from_json
from workers.recording.table import UsageLog
from workers.recording.turns import TurnLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.database import Database

log: Final = logging.getLogger(__name__)

GROUP: Final = "recorder"
REJECTED_KEPT: Final = 10_000
REJECTED_BYTES: Final = 1024
"""Of a record that is too large, how much is kept."""
BATCH: Final = 500
BLOCK_MS: Final = 1000  # below the client's socket timeout
GATHER_S: Final = 0.1
CLAIM_INTERVAL_S: Final = 5.0
CLAIM_IDLE_MS: Final = 20_000
CONSUMER_IDLE_MS: Final = 3_600_000
FIRST_BACK_OFF_S: Final = 0.25
LONGEST_BACK_OFF_S: Final = 5.0
FAULT_S: Final = 30
"""Time that the apis say why nothing can be written, unless a recorder says it again."""
MOST_FAULT_CHARS: Final = 500
DRAIN_S: Final = 5.0

Entry = tuple[bytes, dict[bytes, bytes] | None]


async def record(redis: Redis, database: Database, stop: asyncio.Event) -> None:
    """Record usage until `stop` is set, then what is left. The schema is brought up to date first.

    Raises:
        SchemaError: the database is not ours or the schema's files are broken.
    """
    await Recorder(redis, database).run(stop)


class Recorder:
    """One consumer of the usage stream."""

    def __init__(self, redis: Redis, database: Database) -> None:
        self._redis = redis
        self._database = database
        self._usage_log = UsageLog(database)
        self._turns = TurnLog(redis, database)
        self._responses = ResponseLog(redis, database)
        self._consumer = f"{host_name()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._migrated = False
        self._unsettled = False
        self._claimed_at = float("-inf")
        self._failures = 0
        self._batch = BATCH

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set, then what is left in the stream, for `DRAIN_S` at most."""
        while not stop.is_set():
            if not await self._attempt(BLOCK_MS):
                await wait_or(stop, self._pause_s())
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while await self._attempt(None):
                    pass
        await self._leave()

    async def _attempt(self, block_ms: int | None) -> bool:
        """Run one round; return whether the next should follow at once. Failures are logged when they begin and end."""
        try:
            follow = await self._round(block_ms)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                return self._failed(error)
            # Redis is new, or lost its data.
            return await self._make_group()
        except UNREACHABLE as error:
            return self._failed(error)
        except (DatabaseUnavailable, asyncpg.PostgresError) as error:
            await self._publish_fault(str(error))
            return self._failed(error)
        if self._failures:
            await self._publish_fault("")
            log.info("usage is being recorded again")
        self._failures = 0
        self._batch = min(BATCH, 2 * self._batch)
        return follow

    async def _round(self, block_ms: int | None) -> bool:
        if not self._migrated:
            await self._database.migrate()
            # Not at the start: PostgreSQL may be away then.
            self._migrated = True
        if time.monotonic() - self._claimed_at > CLAIM_INTERVAL_S:
            await self._take_over()
        again = self._unsettled
        if again:
            # First: a record that is too large for a reply would fail each reading anew.
            await self._reject_large()
        # "0" reads what was delivered to us and not settled; ">" what nobody has got yet.
        entries = await self._read("0" if again else ">", block_ms)
        self._unsettled = again and bool(entries)
        if entries:
            await self._settle(entries)
        # A few are no reason to go on at once: soon there are more for one statement.
        return again or len(entries) == self._batch or (not entries and block_ms is not None)

    async def _publish_fault(self, fault: str) -> None:
        """Publish, for the apis, why nothing can be written; nothing is wrong where it is empty."""
        with suppress(*UNREACHABLE):
            if fault:
                await self._redis.set(USAGE_FAULT, fault[:MOST_FAULT_CHARS], ex=FAULT_S)
            else:
                await self._redis.delete(USAGE_FAULT)

    def _failed(self, error: Exception) -> bool:
        self._unsettled = True  # something may have been delivered to us: the reply itself may have got lost
        if not self._failures:
            log.warning("usage cannot be recorded now and waits in Redis: %s: %s", type(error).__name__, error)
        self._failures += 1
        # What is too much for one step may fit into smaller ones.
        self._batch = max(1, self._batch // 4)
        return False

    def _pause_s(self) -> float:
        """Return how long to wait before the next round: a moment for more to gather, or longer after each failure."""
        if not self._failures:
            return GATHER_S
        return min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * (1 << min(self._failures - 1, 10)))

    async def _make_group(self) -> bool:
        try:
            # From the beginning: what came before there was a group is recorded too.
            await self._redis.xgroup_create(USAGE_STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            return str(error).startswith("BUSYGROUP") or self._failed(error)
        except UNREACHABLE as error:
            return self._failed(error)
        return True

    async def _read(self, after: str, block_ms: int | None) -> list[Entry]:
        reply: list[tuple[bytes, list[Entry]]] = await self._redis.xreadgroup(
            GROUP, self._consumer, {USAGE_STREAM: after}, count=self._batch, block=block_ms
        )
        return reply[0][1] if reply else []

    async def _reject_large(self) -> None:
        """Move a batch that was too large to be read to a list of its own."""
        keys = [USAGE_STREAM, REJECTED_USAGE_STREAM]
        arguments = (GROUP, self._consumer, RECORD_BYTES, REJECTED_BYTES, REJECTED_KEPT)
        taken = await scripts.run(self._redis, scripts.REJECT_LARGE, keys, *arguments)
        if taken:
            log.error("%d usage records are too large and go to %s", taken, REJECTED_USAGE_STREAM)

    async def _take_over(self) -> None:
        """Settle what other consumers have held for too long, and forget the consumers that are long gone."""
        start: Any = "0-0"
        while True:
            start, entries, *_ = await self._redis.xautoclaim(
                USAGE_STREAM, GROUP, self._consumer, min_idle_time=CLAIM_IDLE_MS, start_id=start, count=self._batch
            )
            if entries:
                # What a recorder that died held may be settled twice: the row stays one.
                await self._settle(entries)
            if start == b"0-0":
                break
        for consumer in await self._redis.xinfo_consumers(USAGE_STREAM, GROUP):
            # Deleting one with entries pending would forget them.
            if consumer["pending"] == 0 and consumer["idle"] > CONSUMER_IDLE_MS:
                await self._redis.xgroup_delconsumer(USAGE_STREAM, GROUP, consumer["name"])
        self._claimed_at = time.monotonic()

    async def _settle(self, entries: list[Entry]) -> None:
        rejected: list[tuple[bytes, str]] = []
        raw_of: dict[UsageRow, bytes] = {}
        sessions: list[str] = []
        responses: list[str] = []
        for _, fields in entries:
            if fields is None:  # deleted before it was acknowledged
                continue
            if b"s" in fields:  # says that a turn of a session waits
                sessions.append(fields[b"s"].decode())
                continue
            if b"p" in fields:  # says that a response waits
                responses.append(fields[b"p"].decode())
                continue
            raw = fields.get(b"r", b"")
            if len(raw) > RECORD_BYTES:
                rejected.append((raw[:REJECTED_BYTES], f"the record has {len(raw)} bytes"))
                continue
            try:
                raw_of[from_json(raw)] = raw
            except MalformedRecord as error:
                rejected.append((raw, str(error)))
        refused = await self._usage_log.write(raw_of)
        await self._turns.store(sessions)
        await self._responses.store(responses)
        rejected += [(raw_of[row], reason) for row, reason in refused]
        await self._finish([entry_id for entry_id, _ in entries], rejected)

    async def _finish(self, entry_ids: list[bytes], rejected: list[tuple[bytes, str]]) -> None:
        async with self._redis.pipeline(transaction=True) as pipeline:
            for raw, reason in rejected:
                log.error("a usage record cannot be written and goes to %s: %s", REJECTED_USAGE_STREAM, reason)
                pipeline.xadd(REJECTED_USAGE_STREAM, {"r": raw, "error": reason}, maxlen=REJECTED_KEPT)
            # After the commit, and with MULTI: acknowledged but not deleted, an entry would stay for good.
            pipeline.xack(USAGE_STREAM, GROUP, *entry_ids)
            pipeline.xdel(USAGE_STREAM, *entry_ids)
            await pipeline.execute()

    async def _leave(self) -> None:
        """Take our name out of the group, unless something is still pending under it."""
        with suppress(*UNREACHABLE):
            for consumer in await self._redis.xinfo_consumers(USAGE_STREAM, GROUP):
                if consumer["name"] == self._consumer.encode() and consumer["pending"] == 0:
                    await self._redis.xgroup_delconsumer(USAGE_STREAM, GROUP, self._consumer)
