"""The usage log of a span of time: rows, sums, and sums by steps of it."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.postgres.ui import usage_queries

if TYPE_CHECKING:
    import asyncpg

    from shared.postgres.database import Database

Outcome = Literal["ok", "failed", "cancelled"]


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter of requests; None is any. Without `key_id`, `is_internal` means those of the internal token."""

    since: datetime
    until: datetime
    key_id: UUID | None = None
    is_internal: bool = False
    model: str | None = None
    tier: str | None = None
    outcome: Outcome | None = None

    def values(self) -> tuple[object, ...]:
        """Return what the statements bind."""
        days = self.since.date(), self.until.date()
        return self.since, self.until, *days, self.key_id, self.is_internal, self.model, self.tier, self.outcome


class Cursor(NamedTuple):
    """The end of a page: the time and the id of its last request."""

    at: datetime
    request_id: UUID


class UsageReport:
    """Asks the usage log. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer.

    Args:
        database: has the log.
        wanted: which requests.
    """

    def __init__(self, database: Database, wanted: UsageFilter) -> None:
        self._database = database
        self._wanted = wanted

    async def page(self, limit: int, before: Cursor | None = None) -> list[asyncpg.Record]:
        """Return rows, the newest first."""
        cursor = (None, UUID(int=0)) if before is None else before
        return await self._database.fetch(usage_queries.LIST_PAGE, *self._wanted.values(), *cursor, limit)

    async def totals(self) -> asyncpg.Record | None:
        return await self._database.fetchrow(usage_queries.TOTALS, *self._wanted.values())

    async def steps(self, step_s: float) -> list[asyncpg.Record]:
        """Return sums by steps of time since the beginning, and by tier or failure."""
        return await self._database.fetch(usage_queries.STEPS, *self._wanted.values(), step_s)

    async def models(self) -> list[str]:
        """Return the models of the span of time, whatever else is filtered."""
        since: tuple[datetime, date] = self._wanted.since, self._wanted.since.date()
        return [row["model"] for row in await self._database.fetch(usage_queries.MODELS, *since) if row["model"]]
