"""The usage stream into a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from shared.ids import new_request_id
from shared.postgres.database import Database
from shared.postgres.keys import KeyStore
from shared.queue.story import StoryEvent
from shared.redis.names import REJECTED_USAGE_STREAM, USAGE_STREAM
from shared.usage import UsageRecord
from workers.recording import recorder
from workers.recording.recorder import GROUP, Recorder, record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from tests.conftest import Eventually

ALL = "SELECT * FROM np_claw_api_usage ORDER BY admitted_at, request_id"


def a_record(**changes: Any) -> UsageRecord:
    """Return a finished request of now."""
    record = UsageRecord(
        request_id=new_request_id(),
        key_id=None,
        endpoint="chat",
        requested_model="auto",
        admitted_ms=int(time.time() * 1000),
        model="smollm2",
        tier="local",
        prompt_tokens=7,
        completion_tokens=5,
        usage_source="reported",
    )
    return msgspec.structs.replace(record, **changes)


async def send(redis: Redis, *records: UsageRecord) -> None:
    """Put records into the stream, as whoever closes a request does."""
    async with redis.pipeline(transaction=False) as pipeline:
        for record in records:
            pipeline.xadd(USAGE_STREAM, {"r": msgspec.json.encode(record)})
        await pipeline.execute()


@contextlib.asynccontextmanager
async def recording(redis: Redis, database: Database) -> AsyncIterator[None]:
    """Yield a recorder at work."""
    stop = asyncio.Event()
    task = asyncio.create_task(record(redis, database, stop))
    try:
        yield
    finally:
        stop.set()
        await task


def drained(redis: Redis) -> Callable[[], Any]:
    """Return the condition that nothing is left in the stream."""

    async def is_empty() -> bool:
        left: int = await redis.xlen(USAGE_STREAM)
        return left == 0

    return is_empty


async def test_every_field_of_a_record_is_stored(redis: Redis, database: Database, eventually: Eventually) -> None:
    """In its UTC day, with the tier in the clients' word; the key is marked as used."""
    key, _ = await KeyStore(database).create("myapp")
    sent = a_record(
        key_id=key.id, tier="gemini", stream=True, status=502, error_code="upstream_error", cached_tokens=3,
        reasoning_tokens=2, cost_usd=0.000123, attempts=2, wait_ms=4, first_token_ms=90, duration_ms=1234,
        story=(StoryEvent(sent_ms := 1_800_000_000_000, "failed", "attempt 1"),),
    )  # fmt: skip
    async with recording(redis, database):
        await send(redis, sent)
        await eventually(drained(redis))
    (row,) = await database.fetch(ALL)
    admitted_at = datetime.fromtimestamp(sent.admitted_ms / 1000, UTC)
    expected = msgspec.structs.asdict(sent)
    expected["asked_model"] = expected.pop("requested_model")
    # When it came is the day and the time; of a limit of tokens nothing is stored.
    for name in ("admitted_ms", "tokens_per_minute", "reserved_tokens"):
        del expected[name]
    expected["story"] = f'[[{sent_ms},"failed","attempt 1"]]'
    stored = {name: row[name] for name in expected}
    stored |= {"request_id": row["request_id"].hex, "key_id": str(row["key_id"]), "cost_usd": float(row["cost_usd"])}
    assert stored == expected
    assert (row["day"], row["admitted_at"], row["tier_source"]) == (admitted_at.date(), admitted_at, "free_gemini")
    assert [found.last_used_at for found in await KeyStore(database).list()] == [admitted_at]


async def test_a_record_that_comes_twice_is_one_row(redis: Redis, database: Database, eventually: Eventually) -> None:
    """In one batch and in two."""
    sent = a_record()
    async with recording(redis, database):
        await send(redis, sent, sent)
        await eventually(drained(redis))
        await send(redis, sent)
        await eventually(drained(redis))
    assert len(await database.fetch(ALL)) == 1


@pytest.mark.parametrize("real_first", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_a_real_end_beats_an_orphaned_one(
    redis: Redis, database: Database, eventually: Eventually, *, real_first: bool, together: bool
) -> None:
    """Whichever comes first: Redis may forget in a crash that a request had been closed."""
    real = a_record()
    orphaned = msgspec.structs.replace(real, status=499, error_code="orphaned", completion_tokens=0)
    pair = (real, orphaned) if real_first else (orphaned, real)
    async with recording(redis, database):
        for batch in [pair] if together else [pair[:1], pair[1:]]:
            await send(redis, *batch)
            await eventually(drained(redis))
    assert [(row["status"], row["completion_tokens"]) for row in await database.fetch(ALL)] == [(200, 5)]


async def test_each_day_has_its_partition_and_no_day_is_refused(
    redis: Redis, database: Database, eventually: Eventually
) -> None:
    """Days near today get their own; a clock that is far off ends in the default partition."""
    now = datetime.now(UTC)
    days = [now, now - timedelta(days=1), now - timedelta(days=4000)]
    async with recording(redis, database):
        await send(redis, *(a_record(admitted_ms=int(day.timestamp() * 1000)) for day in days))
        await eventually(drained(redis))
    rows = await database.fetch("SELECT tableoid::regclass::text AS part FROM np_claw_api_usage ORDER BY day DESC")
    own = [f"np_claw_api_usage_{day:%Y%m%d}" for day in days[:2]]
    assert [row["part"] for row in rows] == [*own, "np_claw_api_usage_default"]


async def test_a_day_that_began_in_the_default_partition_goes_on_there(
    redis: Redis, database: Database, eventually: Eventually
) -> None:
    """PostgreSQL will not split it; the recorder must not stumble over that."""
    first, second = a_record(), a_record()
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO np_claw_api_usage (day, request_id, endpoint, asked_model, model, tier, stream, status,"
            " prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, usage_source, cost_usd, attempts,"
            " duration_ms, admitted_at) SELECT (now() AT TIME ZONE 'UTC')::date, $1, 'chat', '', '', '', false, 200,"
            " 0, 0, 0, 0, 'none', 0, 1, 0, now()",
            UUID(first.request_id),
        )
    async with recording(redis, database):
        await send(redis, second)
        await eventually(drained(redis))
    assert len(await database.fetch(ALL)) == 2


async def test_malformed_entries_step_aside(redis: Redis, database: Database, eventually: Eventually) -> None:
    """Each goes to a stream of its own with the reason; those around it are written."""
    bad = [
        {"r": b"no json"},
        {"x": b"no record"},
        {"r": msgspec.json.encode(a_record(request_id="short"))},
        {"r": msgspec.json.encode(a_record(key_id="short"))},
        {"r": msgspec.json.encode(a_record(admitted_ms=10**17))},
        {"r": msgspec.json.encode(a_record(prompt_tokens=2**63))},
        {"r": msgspec.json.encode(a_record(cost_usd=1e300))},
    ]
    good = [a_record(requested_model="nul \x00 and \U0001f600"), a_record()]
    async with recording(redis, database):
        await send(redis, good[0])
        for fields in bad:
            await redis.xadd(USAGE_STREAM, fields)  # type: ignore[arg-type]  # redis-py: invariant dict
        await send(redis, good[1])
        await eventually(drained(redis))
    assert {row["request_id"].hex for row in await database.fetch(ALL)} == {entry.request_id for entry in good}
    rejected = await redis.xrange(REJECTED_USAGE_STREAM)
    assert sorted(fields[b"r"] for _, fields in rejected) == sorted(fields.get("r", b"") for fields in bad)
    assert all(fields[b"error"] for _, fields in rejected)


async def test_nothing_is_lost_while_postgres_is_down(
    redis: Redis, database: Database, postgres_url: str, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries wait in Redis, also those that were read already, and are written when it is back."""
    monkeypatch.setattr(recorder, "LONGEST_BACK_OFF_S", 0.05)
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    async with recording(redis, database), Database(postgres_url) as server:
        await send(redis, a_record())
        await eventually(drained(redis))
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        await send(redis, *(a_record() for _ in range(5)))

        async def are_pending() -> bool:
            pending: int = (await redis.xpending(USAGE_STREAM, GROUP))["pending"]
            return pending > 0

        await eventually(are_pending)
        await send(redis, *(a_record() for _ in range(5)))
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await eventually(drained(redis))
    assert len(await database.fetch(ALL)) == 11


async def test_redis_losing_everything_is_survived(redis: Redis, database: Database, eventually: Eventually) -> None:
    """The consumer group is made again."""
    async with recording(redis, database):
        await send(redis, a_record())
        await eventually(drained(redis))
        await redis.flushall()
        await send(redis, a_record())
        await eventually(drained(redis))
    assert len(await database.fetch(ALL)) == 2


async def test_what_a_dead_recorder_held_is_taken_over(
    redis: Redis, database: Database, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its name disappears from the group once it has been gone for long."""
    monkeypatch.setattr(recorder, "CLAIM_IDLE_MS", 0)
    monkeypatch.setattr(recorder, "CONSUMER_IDLE_MS", -1)
    await redis.xgroup_create(USAGE_STREAM, GROUP, id="0", mkstream=True)
    await send(redis, *(a_record() for _ in range(3)))
    await redis.xreadgroup(GROUP, "dead", {USAGE_STREAM: ">"})
    async with recording(redis, database):
        await eventually(drained(redis))
    assert len(await database.fetch(ALL)) == 3
    assert await redis.xinfo_consumers(USAGE_STREAM, GROUP) == []


async def test_a_reply_lost_on_its_way_is_read_again(
    redis: Redis, database: Database, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has counted the entries as delivered; nobody else would write them for a while."""
    monkeypatch.setattr(recorder, "FIRST_BACK_OFF_S", 0.01)
    read = redis.xreadgroup
    lost: list[Any] = []

    async def losing(*arguments: Any, **named: Any) -> Any:
        reply = await read(*arguments, **named)
        if reply and not lost:
            lost.append(reply)
            raise TimeoutError
        return reply

    monkeypatch.setattr(redis, "xreadgroup", losing)
    async with recording(redis, database):
        await send(redis, a_record())
        await eventually(drained(redis))
    assert lost
    assert len(await database.fetch(ALL)) == 1


async def test_several_recorders_share_the_stream(redis: Redis, database: Database, eventually: Eventually) -> None:
    """Two thousand records, three recorders, a row for each; nobody deadlocks over keys."""
    keys = [(await KeyStore(database).create(f"key {number}"))[0].id for number in range(10)]
    sent = [a_record(key_id=keys[number % 10]) for number in range(2000)]
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(recording(redis, database))
        for start in range(0, len(sent), 50):
            await send(redis, *sent[start : start + 50])
        await eventually(drained(redis))
    assert {row["request_id"].hex for row in await database.fetch(ALL)} == {entry.request_id for entry in sent}


async def test_what_is_in_the_stream_at_the_stop_is_still_written(redis: Redis, database: Database) -> None:
    """The recorder is stopped last; the api's final records are there by then."""
    stop = asyncio.Event()
    stop.set()
    await redis.xgroup_create(USAGE_STREAM, GROUP, id="0", mkstream=True)
    await send(redis, *(a_record() for _ in range(recorder.BATCH + 1)))
    await Recorder(redis, database).run(stop)
    assert len(await database.fetch(ALL)) == recorder.BATCH + 1
    assert await redis.xinfo_consumers(USAGE_STREAM, GROUP) == []


async def test_what_is_too_much_for_one_step_is_recorded_in_smaller_ones(
    redis: Redis, database: Database, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that Redis cannot answer with in time would fail for good; afterwards batches grow again."""
    sizes: list[int] = []
    read, most = Recorder._read, 10

    async def slow(self: Recorder, after: str, block_ms: int | None) -> Any:
        sizes.append(self._batch)
        if self._batch > most and await redis.xlen(USAGE_STREAM) > most:
            raise TimeoutError
        return await read(self, after, block_ms)

    monkeypatch.setattr(Recorder, "_read", slow)
    monkeypatch.setattr(recorder, "FIRST_BACK_OFF_S", 0.01)
    await send(redis, *(a_record() for _ in range(3 * most)))
    async with recording(redis, database):
        await eventually(drained(redis))
        await eventually(lambda: sizes[-1] == recorder.BATCH)
    assert min(sizes) <= most
    assert len(await database.fetch(ALL)) == 3 * most
