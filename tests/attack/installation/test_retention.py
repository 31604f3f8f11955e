"""Old days of the usage log are dropped: with every day of three years kept, listing it took seconds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.clock import day_lasts
from workers.recording import retention
from workers.recording.retention import LEAST_DAYS, drop_old_days, keep_short

if TYPE_CHECKING:
    from datetime import date

    from shared.postgres.database import Database
    from tests.conftest import Eventually
    from tests.fleet import Fleet

COUNT_PARTITIONS = "SELECT count(*) AS n FROM pg_inherits WHERE inhparent = 'np_claw_api_usage'::regclass"
ADD = """
INSERT INTO np_claw_api_usage
    (day, request_id, endpoint, asked_model, model, tier, stream, status, prompt_tokens, completion_tokens,
     cached_tokens, reasoning_tokens, usage_source, cost_usd, attempts, duration_ms, admitted_at)
VALUES ($1::date, gen_random_uuid(), 'chat', 'm', 'm', 'local', false, 200, 1, 1, 0, 0, 'none', 0, 1, 0, $1::date)
"""


@pytest.fixture(autouse=True)
async def _one_day() -> None:
    """Let a test begin and end on the same day: what is to be kept is told by the day."""
    await day_lasts()


def days_ago(days: int) -> date:
    """Return the day so many days ago, in UTC."""
    return datetime.now(UTC).date() - timedelta(days=days)


async def _days(database: Database) -> set[date]:
    return {row["day"] for row in await database.fetch("SELECT day FROM np_claw_api_usage")}


async def test_days_that_are_too_old_are_gone(database: Database) -> None:
    """Those with a partition of their own, and those without; the others stay."""
    for days in (1, 99, 100, 101, 500):
        await database.execute("SELECT np_claw_ensure_usage_day($1)", days_ago(days))
    for days in (0, 1, 99, 100, 101, 500, 501):
        await database.execute(ADD, days_ago(days))
    before = (await database.fetch(COUNT_PARTITIONS))[0]["n"]
    assert await drop_old_days(database, 100) == 2
    assert await _days(database) == {days_ago(days) for days in (0, 1, 99, 100)}
    assert (await database.fetch(COUNT_PARTITIONS))[0]["n"] == before - 2
    assert await drop_old_days(database, 100) == 0


async def test_a_month_is_always_kept(database: Database) -> None:
    """The budgets of a month are read from it."""
    await database.execute(ADD, days_ago(LEAST_DAYS))
    await database.execute(ADD, days_ago(LEAST_DAYS + 1))
    await drop_old_days(database, 1)
    assert await _days(database) == {days_ago(LEAST_DAYS)}


async def test_a_long_query_delays_it_and_waits_for_nothing(database: Database) -> None:
    """Nobody waits behind it; the next look drops the day."""
    await database.execute("SELECT np_claw_ensure_usage_day($1)", days_ago(200))
    async with database.connection() as connection, connection.transaction():
        await connection.fetch("SELECT count(*) FROM np_claw_api_usage")
        assert await drop_old_days(database, 100) == 0
        await asyncio.gather(*(_days(database) for _ in range(3)))
    assert await drop_old_days(database, 100) == 1


async def test_several_recorders_may_drop_at_once(database: Database) -> None:
    """Each day goes once, and none of them is refused."""
    for days in range(200, 206):
        await database.execute("SELECT np_claw_ensure_usage_day($1)", days_ago(days))
    await asyncio.gather(*(drop_old_days(database, 100) for _ in range(4)))
    assert await drop_old_days(database, 100) == 0


async def test_a_log_may_be_kept_for_good(database: Database) -> None:
    """However many days that is said to be."""
    await database.execute(ADD, days_ago(5000))
    assert await drop_old_days(database, 10**9) == 0
    assert await _days(database) == {days_ago(5000)}


async def test_a_recorder_leaves_no_more_days_than_are_wanted(
    fleet: Fleet, database: Database, eventually: Eventually
) -> None:
    """The process itself, of days with a partition of their own and of those without."""
    for days in range(120, 150):
        await database.execute("SELECT np_claw_ensure_usage_day($1)", days_ago(days))
    for days in (0, 100, 101, 120, 149, 500):
        await database.execute(ADD, days_ago(days))
    before = (await database.fetch(COUNT_PARTITIONS))[0]["n"]
    sooner = ["tests.attack.installation.elsewhere", json.dumps({"first_look_s": 0.01}), "workers", "recorder"]
    recorder = fleet.start("recorder", sooner, 0, {"CLAW_USAGE_RETENTION_DAYS": "100"})

    async def are_gone() -> bool:
        return await _days(database) == {days_ago(0), days_ago(100)}

    await eventually(are_gone)
    # It makes those of the next days, too.
    assert (await database.fetch(COUNT_PARTITIONS))[0]["n"] < before - 25
    await eventually(lambda: "days of the usage log were older than 100 days" in recorder.log.read_text())


async def test_a_recorder_looks_soon_after_its_start(
    database: Database, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is always stopped before an hour is over would keep all for good."""
    monkeypatch.setattr(retention, "FIRST_LOOK_S", 0.01)
    await database.execute("SELECT np_claw_ensure_usage_day($1)", days_ago(200))
    await database.execute(ADD, days_ago(200))
    stop = asyncio.Event()
    looks = asyncio.create_task(keep_short(database, usage_days=100, session_days=100, stop=stop))

    async def is_gone() -> bool:
        return not await _days(database)

    await eventually(is_gone)
    stop.set()
    await looks
