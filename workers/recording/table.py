"""Rows into np_claw_api_usage, each day in a partition of its own."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg

from shared.postgres import queries
from shared.postgres.keys import KeyStore
from workers.recording.rows import UsageRow, last_uses, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.postgres.database import Database

_FARTHEST_PARTITION: Final = timedelta(days=31)  # a wrong clock must not make a table for every day it shows
_ASK_AGAIN_S: Final = 600.0
_REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.InterfaceError,
)


class UsageLog:
    """Writes usage. Its methods raise `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys = KeyStore(database)
        self._days: set[date] = set()
        self._days_since = 0.0

    async def write(self, rows: Iterable[UsageRow]) -> list[tuple[UsageRow, str]]:
        """Write rows and when their keys were last used; a row that is there already stays one row.

        Returns:
            The rows that PostgreSQL refuses for what is in them, and why.
        """
        wanted = unique(rows)
        if not wanted:
            return []
        await self._ensure_partitions({row.day for row in wanted})
        try:
            await self._upsert(wanted)
        # One bad row refuses the whole batch, so each is tried by itself to find it.
        except _REFUSED:
            refused = await self._write_one_by_one(wanted)
        else:
            refused = []
        await self._keys.touch(last_uses(wanted))
        return refused

    async def _upsert(self, rows: Sequence[UsageRow]) -> None:
        await self._database.execute(queries.UPSERT_USAGE, *(list(column) for column in zip(*rows, strict=True)))

    async def _write_one_by_one(self, rows: Sequence[UsageRow]) -> list[tuple[UsageRow, str]]:
        refused = []
        for row in rows:
            try:
                await self._upsert([row])
            except _REFUSED as error:
                refused.append((row, str(error)))
        return refused

    async def _ensure_partitions(self, days: set[date]) -> None:
        """Make the partitions of these days, and of tomorrow, so that at midnight nobody waits for it."""
        if time.monotonic() - self._days_since > _ASK_AGAIN_S:
            self._days.clear()
            self._days_since = time.monotonic()
        today = datetime.now(UTC).date()
        wanted = days | {today + timedelta(days=1)}
        for day in sorted(wanted - self._days):
            if abs(day - today) <= _FARTHEST_PARTITION:
                await self._database.execute(queries.ENSURE_USAGE_DAY, day)
            self._days.add(day)
