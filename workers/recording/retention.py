"""Days of the usage log that are older than they are wanted are dropped, so that it does not grow for good."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg

from shared.postgres import queries
from shared.postgres.database import DatabaseUnavailable
from shared.process.tasks import wait_or

if TYPE_CHECKING:
    import asyncio

    from shared.postgres.database import Database

log: Final = logging.getLogger(__name__)

LOOK_S: Final = 3600.0
MOST_DAYS: Final = 365_000
"""For good: what is more would lead to a day before the calendar."""
LEAST_DAYS: Final = 32
"""What is spent of a month's budgets is read from the log when Redis has lost its data."""


async def drop_old_days(database: Database, keep_days: int) -> int:
    """Drop the days before the last `keep_days` whole ones; return how many partitions that were.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot answer now, or refuses.
    """
    first = datetime.now(UTC).date() - timedelta(days=min(max(keep_days, LEAST_DAYS), MOST_DAYS))
    names = [row["name"] for row in await database.fetch(queries.OLD_USAGE_DAYS, first)]
    for name in names:
        await database.execute(queries.DROP_USAGE_DAY.format(name=name))
    await database.execute(queries.DELETE_OLD_USAGE, first)
    return len(names) - len(await database.fetch(queries.OLD_USAGE_DAYS, first))


async def keep_usage_short(database: Database, keep_days: int, stop: asyncio.Event) -> None:
    """Drop what is too old every hour, until `stop`."""
    # Not at once: the first recorder may still be making the tables.
    while not await wait_or(stop, LOOK_S):
        try:
            dropped = await drop_old_days(database, keep_days)
        except (DatabaseUnavailable, asyncpg.PostgresError):
            continue  # the database has logged it; the next look tries again
        if dropped:
            log.info("%d days of the usage log were older than %d days and are gone", dropped, keep_days)
