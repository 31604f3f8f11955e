"""Redis loses its data while a paid request is tried, ended, recorded and counted: the budget stays that of the log."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from api.accounting.budget import Budget, month_at
from shared.redis.names import USAGE_STREAM, since_key
from shared.usage import ClosingMode
from tests.clock import day_lasts
from tests.integration.shared.queue.sample_jobs import API, budget, claim
from tests.integration.shared.redis.test_finish import Party, judge, move_on, open_request, speak, try_again
from workers.recording.rows import from_json
from workers.recording.table import UsageLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.database import Database

STEPS = ("loss", "heartbeat", "attempt", "move", "worker", "api", "judge", "record", "fill")
WEIGHTS = (3, 1, 1, 1, 3, 2, 1, 1, 1)


@pytest.fixture(autouse=True)
async def _one_month() -> None:
    """Let a test begin and end in the same month."""
    await day_lasts()


async def record(redis: Redis, database: Database) -> None:
    """Write what waits in the stream into the usage log, as a recorder does."""
    entries = await redis.xrange(USAGE_STREAM)
    assert await UsageLog(database).write([from_json(fields[b"r"]) for _, fields in entries]) == []
    if entries:
        await redis.xdel(USAGE_STREAM, *(name for name, _ in entries))


async def fill(redis: Redis, database: Database) -> None:
    """Fill the budget from the usage log, where it is new."""
    await Budget(None, database, redis).seed(month_at(datetime.now(UTC)))


async def agree(redis: Redis, database: Database) -> None:
    """Check that nothing is reserved and what was spent is the sum of the log's rows, once all is recorded."""
    await fill(redis, database)
    await record(redis, database)
    sums = await budget(redis)
    assert not [name for name in sums if name.startswith(("r:", "held"))]
    rows = await database.fetch("SELECT cost_usd FROM np_claw_api_usage")
    assert sums.get("spent", 0) == sum(round(float(row["cost_usd"]) * 1e9) for row in rows)


async def test_the_logs_word_about_an_attempt_is_the_budgets(redis: Redis, database: Database) -> None:
    """Its api gave the attempt up, which was recorded; after the loss its worker, which differs, is heard first."""
    request = await open_request(redis, 1)
    await speak(redis, request, Party(ClosingMode.OPEN, 1, 50))
    await record(redis, database)
    await redis.flushall()
    await speak(redis, request, Party(ClosingMode.HELD, 1, 107))
    await agree(redis, database)
    assert (await budget(redis))["spent"] == 50


@pytest.mark.parametrize("seed", range(60))
async def test_the_budget_is_the_sum_of_the_log(redis: Redis, database: Database, seed: int) -> None:
    """In any order, and whoever is not heard; what was recorded before a loss is not lost."""
    chance = random.Random(seed)
    request = await open_request(redis, 1)
    await fill(redis, database)
    attempts = 1
    for step in chance.choices(STEPS, WEIGHTS, k=chance.randint(4, 12)):
        if step == "loss":
            await record(redis, database)
            await redis.flushall()
        elif step == "heartbeat":
            await redis.set(since_key(API), request.admitted_ms + chance.randint(1, 2000), nx=True)
        elif step == "attempt":
            attempts += 1
            await try_again(redis, request, attempts)
            if chance.random() < 0.5:
                await claim(redis, "paid")
        elif step == "move":
            await move_on(redis, request, attempts)
        elif step == "worker":
            attempt = chance.randint(1, attempts)
            await speak(redis, request, Party(ClosingMode.HELD, attempt, 100 * attempt + 7))
        elif step == "api":
            await speak(redis, request, Party(ClosingMode.OPEN, attempts, 50))
        elif step == "judge":
            await judge(redis, request)
        else:
            await (record if step == "record" else fill)(redis, database)
    await judge(redis, request)
    await agree(redis, database)
