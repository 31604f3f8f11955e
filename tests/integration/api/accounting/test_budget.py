"""The month's budget on real servers: filled from the usage log exactly once, and shown."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from api.accounting.budget import LIFE_S, Budget, month_at
from shared.ids import new_request_id
from shared.models.catalogue import nano_usd
from shared.postgres import stats_queries
from shared.postgres.database import Database
from shared.postgres.keys import KeyChange, KeyStore
from shared.redis.names import USAGE_STREAM, budget_key
from shared.settings import Settings
from shared.usage import ORPHANED, Closing, ClosingMode, UsageRecord, finish_now
from tests.clock import day_lasts
from tests.integration.api.manage.gateway_stub import management_app
from workers.recording.recorder import record
from workers.recording.rows import from_record
from workers.recording.table import UsageLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from api.accounting.budget import Month
    from tests.conftest import Eventually

TOKEN = {"x-internal-token": "geheim"}


@pytest.fixture(autouse=True)
async def _one_month() -> None:
    """Let a test begin and end in the same month."""
    await day_lasts()


def month() -> Month:
    """Return the month that it is: while the test runs, and not when this module was read."""
    return month_at(datetime.now(UTC))


def budget_hash() -> str:
    """Return the name of its hash."""
    return budget_key(month().name)


def paid(cost_usd: float, key_id: str | None = None, **changes: Any) -> UsageRecord:
    """Return a request of now that a paid API served."""
    fields: dict[str, Any] = {
        "request_id": new_request_id(), "key_id": key_id, "endpoint": "chat", "requested_model": "gpt-4o",
        "tier": "paid", "cost_usd": cost_usd, "admitted_ms": int(time.time() * 1000),
    }  # fmt: skip
    return UsageRecord(**(fields | changes))


async def log(database: Database, *records: UsageRecord) -> None:
    """Write requests into the usage log."""
    assert await UsageLog(database).write([from_record(record) for record in records]) == []


async def settle(redis: Redis, ended: UsageRecord) -> None:
    """Let a request end."""
    await finish_now(redis, Closing.of(ended, ClosingMode.NEW, api_id="11" * 16, job_id="job"))


async def sums(redis: Redis) -> dict[str, int]:
    """Return the fields of the budget."""
    return {field.decode(): int(nano or 0) for field, nano in (await redis.hgetall(budget_hash())).items()}  # type: ignore[misc]  # redis-py: or awaitable


async def test_a_new_redis_learns_what_was_spent(database: Database, redis: Redis) -> None:
    """By key and in all, of this month; the hash does not stay for ever."""
    key, _ = await KeyStore(database).create("myapp")
    last_month = int(datetime(month().start.year, month().start.month, 1, tzinfo=UTC).timestamp() * 1000) - 1
    await log(
        database,
        *(paid(0.0000025, key.id) for _ in range(3)),
        paid(1.25),
        paid(5, admitted_ms=last_month),
        paid(0, tier="gemini"),
    )
    assert await Budget(None, database, redis).seed(month())
    assert await sums(redis) == {
        "spent": 1_250_007_500,
        "spent:internal": 1_250_000_000,
        f"spent:{key.id}": 7_500,
        "seeded": 1,
    }
    assert LIFE_S - 60 < await redis.ttl(budget_hash()) <= LIFE_S


async def test_it_is_done_once_by_however_many(database: Database, redis: Redis) -> None:
    """Ten at once, and again later."""
    await log(database, paid(1))
    budgets = [Budget(None, database, redis) for _ in range(10)]
    done = await asyncio.gather(*(budget.seed(month()) for budget in budgets))
    await log(database, paid(1))
    done.append(await budgets[0].seed(month()))
    assert sum(done) == 1
    assert (await sums(redis))["spent"] == 1_000_000_000


async def test_what_waits_for_a_recorder_is_counted(database: Database, redis: Redis) -> None:
    """Once, also where it is in the log already or stands in the stream twice; what is no record is left alone."""
    both, twice, lost = paid(1), paid(2), paid(4, error_code="orphaned")
    await log(database, both)
    found = msgspec.structs.replace(lost, cost_usd=8, error_code=None)
    local = paid(0, tier="local")
    for waiting in (both, twice, twice, lost, found, local, paid(32, admitted_ms=0), paid(64, request_id="x")):
        await redis.xadd(USAGE_STREAM, {"r": msgspec.json.encode(waiting)})
    await redis.xadd(USAGE_STREAM, {"r": b"{"})
    await redis.xadd(USAGE_STREAM, {"other": b""})
    await Budget(None, database, redis).seed(month())
    assert (await sums(redis))["spent"] == nano_usd(1 + 2 + 8)


async def test_what_was_settled_before_is_neither_lost_nor_counted_twice(database: Database, redis: Redis) -> None:
    """Whether it has come to the log by then or not."""
    before, recorded, waiting = paid(1), paid(2), paid(4)
    await log(database, before)
    await settle(redis, recorded)
    await log(database, recorded)
    await redis.delete(USAGE_STREAM)
    await settle(redis, waiting)
    await redis.hset(budget_hash(), mapping={"held": 9, "held:internal": 9, "r:00": 9})  # type: ignore[misc]  # redis-py: or awaitable
    assert await Budget(None, database, redis).seed(month())
    spent = nano_usd(7)
    assert await sums(redis) == {
        "spent": spent, "spent:internal": spent, "held": 9, "held:internal": 9, "r:00": 9, "seeded": 1
    }  # fmt: skip


async def test_what_ends_and_is_recorded_in_the_middle_counts_once(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was read which requests Redis has settled, and before the log's sums are."""
    early, late = paid(1), paid(2)
    await log(database, early)
    read = redis.hkeys

    async def read_and_go_on(name: str) -> list[bytes]:
        fields = await read(name)  # type: ignore[misc]  # redis-py: or awaitable
        await settle(redis, late)
        await log(database, late)
        return list(fields)

    monkeypatch.setattr(redis, "hkeys", read_and_go_on)
    assert await Budget(None, database, redis).seed(month())
    assert (await sums(redis))["spent"] == nano_usd(3)


async def test_the_sum_is_exact_while_requests_end_and_are_recorded(database: Database, redis: Redis) -> None:
    """Requests of before the loss, in the log and on their way; requests that end meanwhile; four who fill it."""
    key, _ = await KeyStore(database).create("myapp")
    before = [paid(0.001 * number, key.id) for number in range(1, 41)]
    meanwhile = [paid(0.01 * number, key.id if number % 2 else None) for number in range(1, 201)]
    await log(database, *before[:20])
    for waiting in before[10:]:
        await redis.xadd(USAGE_STREAM, {"r": msgspec.json.encode(waiting)})
    stop = asyncio.Event()
    recording = asyncio.create_task(record(redis, database, stop))
    settling = asyncio.create_task(_settle_all(redis, meanwhile))
    done = await asyncio.gather(*(Budget(None, database, redis).seed(month()) for _ in range(4)))
    await settling
    stop.set()
    await recording
    assert sum(done) == 1
    found = await sums(redis)
    assert found["spent"] == sum(nano_usd(ended.cost_usd) for ended in before + meanwhile)
    of_key = [ended for ended in before + meanwhile if ended.key_id is not None]
    assert found[f"spent:{key.id}"] == sum(nano_usd(ended.cost_usd) for ended in of_key)
    assert not [field for field in found if field.startswith("s:")]
    (row,) = await database.fetch("SELECT sum(cost_usd) AS cost_usd FROM np_claw_api_usage")
    assert nano_usd(float(row["cost_usd"])) == found["spent"]


async def _settle_all(redis: Redis, ended: list[UsageRecord]) -> None:
    for one in ended:
        await settle(redis, one)


@pytest.mark.parametrize("when", ["before", "in the middle", "after"])
async def test_what_is_said_again_of_what_the_log_knows_counts_once(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Who closed it did not hear that Redis took it; Redis lost it, and was filled before, after or meanwhile."""
    key, _ = await KeyStore(database).create("myapp")
    record = partial(paid, key_id=key.id)
    same, judged, later, earlier = (
        record(1, attempts=1), record(2, error_code=ORPHANED), record(8, attempts=1), record(64, attempts=2)
    )  # fmt: skip
    again = [
        same,
        msgspec.structs.replace(judged, cost_usd=4, error_code=None, attempts=1),
        msgspec.structs.replace(later, cost_usd=32, attempts=2),
        msgspec.structs.replace(earlier, cost_usd=128, attempts=1),
    ]
    known = [same, judged, later, earlier, record(256)]
    await log(database, *known)
    if when == "before":
        await _end_all(redis, again)
    elif when == "in the middle":
        fetch = asyncpg.Connection.fetch

        async def end_and_fetch(connection: asyncpg.Connection, query: str, *arguments: Any, **options: Any) -> Any:
            if query == stats_queries.RECENT_PAID_USAGE:
                await _end_all(redis, again)
            return await fetch(connection, query, *arguments, **options)

        monkeypatch.setattr(asyncpg.Connection, "fetch", end_and_fetch)
    assert await Budget(None, database, redis).seed(month())
    if when == "after":
        assert (await sums(redis))["spent"] == sum(nano_usd(each.cost_usd) for each in known)
        await _end_all(redis, again)
    spent = nano_usd(1 + 4 + 32 + 64 + 256)
    assert await sums(redis) == {"spent": spent, f"spent:{key.id}": spent, "seeded": 1}
    await log(database, *again)
    (row,) = await database.fetch("SELECT sum(cost_usd) AS cost_usd FROM np_claw_api_usage")
    assert nano_usd(float(row["cost_usd"])) == spent


async def _end_all(redis: Redis, records: list[UsageRecord]) -> None:
    """Close requests that were admitted before Redis lost its data, as their api says it, twice."""
    for each in (*records, *records):
        await finish_now(redis, Closing.of(each, ClosingMode.OPEN, api_id="11" * 16, job_id="job"))


async def test_a_redis_that_lost_its_data_is_filled_again(
    database: Database, redis: Redis, eventually: Eventually
) -> None:
    """As soon as somebody doubts."""
    budget = Budget(None, database, redis)
    await log(database, paid(1))
    await budget.start()
    await redis.flushall()
    budget.invalidate()
    found = await eventually(lambda: _seeded(redis))
    assert found["spent"] == 1_000_000_000
    await budget.stop()


async def _seeded(redis: Redis) -> dict[str, int]:
    found = await sums(redis)
    return found if "seeded" in found else {}


async def test_it_waits_for_a_database_that_is_away(database_url: str, redis: Redis, eventually: Eventually) -> None:
    """The process starts all the same, and what is spent by then is kept."""
    async with Database("postgresql://claw@127.0.0.1:1/claw") as away, Database(database_url) as database:
        await log(database, paid(1))
        budget = Budget(None, away, redis)
        await budget.start()
        await settle(redis, paid(2))
        assert "seeded" not in await sums(redis)
        budget._database = database
        budget.invalidate()
        assert (await eventually(lambda: _seeded(redis)))["spent"] == nano_usd(3)
        await budget.stop()


async def test_the_api_shows_the_month(database: Database, redis: Redis) -> None:
    """In all and of each key that has a limit or spent something, revoked ones too; who spent most comes first."""
    keys = KeyStore(database)
    spender, _ = await keys.create("spender", monthly_budget_usd=2.5)
    gone, _ = await keys.create("gone", monthly_budget_usd=1)
    idle, _ = await keys.create("idle", monthly_budget_usd=0)
    await keys.create("without")
    await keys.revoke(gone.id)
    await log(database, paid(1.5, spender.id), paid(0.25, gone.id), paid(0.1))
    await redis.hset(budget_hash(), mapping={"held": 500_000_000, f"held:{spender.id}": 500_000_000})  # type: ignore[misc]  # redis-py: or awaitable
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim", monthly_budget_usd=10)
    client = management_app(settings, database, redis).test_client()
    response = await client.get("/claw/v1/budget", headers=TOKEN)
    assert response.status_code == 200
    assert await response.get_json() == {
        "month": month().name,
        "limit_usd": 10.0,
        "spent_usd": 1.85,
        "held_usd": 0.5,
        "remaining_usd": 7.65,
        "resets_at": month().resets_at,
        "keys": [
            {"key_id": key_id, "key_name": name, "limit_usd": limit_usd, "spent_usd": spent_usd, "held_usd": held_usd}
            for key_id, name, limit_usd, spent_usd, held_usd in (
                (spender.id, "spender", 2.5, 1.5, 0.5),
                (gone.id, "gone", None, 0.25, 0.0),
                ("internal", "internal", None, 0.1, 0.0),
                (idle.id, "idle", 0.0, 0.0, 0.0),
            )
        ],
    }
    await keys.update(idle.id, KeyChange(monthly_budget_usd=None))
    await redis.hset(budget_hash(), mapping={"spent": nano_usd(11)})  # type: ignore[misc]  # redis-py: or awaitable
    shown = await (await client.get("/claw/v1/budget", headers=TOKEN)).get_json()
    assert (shown["remaining_usd"], len(shown["keys"])) == (0.0, 3)


async def test_without_a_limit_nothing_remains_to_be_told(database: Database, redis: Redis) -> None:
    """Nulls, not an invented bound."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    client = management_app(settings, database, redis).test_client()
    shown = await (await client.get("/claw/v1/budget", headers=TOKEN)).get_json()
    assert (shown["limit_usd"], shown["remaining_usd"], shown["spent_usd"], shown["keys"]) == (None, None, 0.0, [])
    assert datetime.fromisoformat(shown["resets_at"]) - datetime.now(UTC) <= timedelta(days=31)


@pytest.mark.parametrize("headers", [{}, {"x-internal-token": "wrong"}])
async def test_only_the_internal_token_opens_it(database: Database, redis: Redis, headers: dict[str, str]) -> None:
    """With a string for an error."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    response = await management_app(settings, database, redis).test_client().get("/claw/v1/budget", headers=headers)
    assert response.status_code == 401
    assert isinstance((await response.get_json())["error"], str)


async def test_postgres_down_is_503(redis: Redis) -> None:
    """With a string for an error."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    async with Database("postgresql://claw@127.0.0.1:1/claw") as database:
        response = await management_app(settings, database, redis).test_client().get("/claw/v1/budget", headers=TOKEN)
    assert response.status_code == 503
    assert isinstance((await response.get_json())["error"], str)


async def test_the_operator_is_reported_when_the_budget_goes_to_its_end(
    database: Database, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """At four fifths and at its end, once each."""
    budget = Budget(10.0, database, redis)
    await budget.start()
    for spent_usd in (7.9, 8.0, 9.0, 10.5, 11.0):
        await redis.hset(budget_hash(), "spent", str(nano_usd(spent_usd)))  # type: ignore[misc]  # redis-py: or awaitable
        await budget.look()
    await budget.stop()
    told = [record.getMessage() for record in caplog.records if "is spent" in record.getMessage()]
    assert told == [
        f"{month().name}: ${spent} of the budget of $10.00 for paid models is spent" for spent in ("8.00", "10.50")
    ]
