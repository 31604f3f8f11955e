"""Retention: deletes what is too old: days of the usage log, chats and responses that nobody continued."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg

from shared.postgres import erasure_queries, queries, session_queries
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.responses import queries as response_queries
from shared.process.tasks import wait_or

if TYPE_CHECKING:
    import asyncio

    from shared.postgres.database import Database

log: Final = logging.getLogger(__name__)

LOOK_S: Final = 3600.0
FIRST_LOOK_S: Final = 60.0
"""After the start: who runs a gateway for less than an hour at a time keeps nothing for longer either. Not at once: the
first recorder may still be making the tables."""
MOST_DAYS: Final = 365_000
"""For good: what is more would lead to a day before the calendar."""
LEAST_DAYS: Final = 32
"""Spending of a month's budgets is read from the log when Redis has lost its data."""
BATCH: Final = 500
"""Sessions, of as many messages as they have, that one statement deletes: nobody waits for it for long."""


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
    # Those that a long query holds are there still.
    return len(names) - len(await database.fetch(queries.OLD_USAGE_DAYS, first))


async def delete_old_sessions(database: Database, keep_days: int) -> int:
    """Delete the sessions whose last message is older than `keep_days`, with their messages; return how many.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot answer now, or refuses; what was deleted until then is gone.
    """
    before = datetime.now(UTC) - timedelta(days=min(keep_days, MOST_DAYS))
    deleted = 0
    while gone := len(await database.fetch(session_queries.DELETE_OLD_SESSIONS, before, BATCH)):
        deleted += gone
    return deleted


async def delete_old_responses(database: Database, keep_days: int) -> int:
    """Delete the responses, and conversations, that were not continued for `keep_days`; return how many.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot answer now, or refuses; what was deleted until then is gone.
    """
    before = datetime.now(UTC) - timedelta(days=min(keep_days, MOST_DAYS))
    deleted = 0
    for query in (response_queries.DELETE_OLD_RESPONSES, response_queries.DELETE_OLD_CONVERSATIONS):
        while gone := len(await database.fetch(query, before, BATCH)):
            deleted += gone
    return deleted


async def erase_late(database: Database) -> None:
    """Take the names of erased keys off usage that was on its way to the log when they were erased.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot answer now, or refuses.
    """
    await database.execute(erasure_queries.ANONYMISE_LATE_USAGE)


async def keep_short(database: Database, *, usage_days: int, session_days: int, stop: asyncio.Event) -> None:
    """Remove what is too old, soon and then every hour, until `stop`."""
    pause_s = FIRST_LOOK_S
    while not await wait_or(stop, pause_s):
        pause_s = LOOK_S
        try:
            dropped = await drop_old_days(database, usage_days)
            deleted = await delete_old_sessions(database, session_days)
            responses = await delete_old_responses(database, session_days)
            await erase_late(database)
        except (DatabaseUnavailable, asyncpg.PostgresError):
            continue  # the database has logged it; the next look tries again
        if dropped:
            log.info("%d days of the usage log were older than %d days and are gone", dropped, usage_days)
        if deleted:
            log.info("%d sessions had no message for %d days and are gone", deleted, session_days)
        if responses:
            text = "%d responses and conversations were not continued for %d days and are gone"
            log.info(text, responses, session_days)
