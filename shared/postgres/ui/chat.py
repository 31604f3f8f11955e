"""The web UI's chat in PostgreSQL, beside sessions: its key, and what answers cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.postgres import queries as key_queries
from shared.postgres.keys import CHAT_KEY, CHAT_KEY_HASH, DEFAULT_RPM_LIMIT
from shared.postgres.ui import queries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from shared.postgres.database import Database


class ChatStore:
    """The chat's rows. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make_key(self) -> None:
        """Make the key under which the chat runs, unless there is one that is active."""
        await self._database.execute(queries.FREE_HASH, CHAT_KEY_HASH)
        # An admin's, as everybody is who has signed in; all else may be changed as with any key.
        bounds = (DEFAULT_RPM_LIMIT, True, None, None, (), (), None, None, True)
        await self._database.execute(key_queries.CREATE_KEY, CHAT_KEY, CHAT_KEY_HASH, CHAT_KEY, *bounds)

    async def costs(self, request_ids: Sequence[UUID], since: datetime) -> dict[UUID, float]:
        """Return what requests cost, in US dollars, of those that are in the usage log.

        Args:
            request_ids: which ones.
            since: none was admitted earlier.
        """
        rows = await self._database.fetch(queries.COSTS, list(request_ids), since)
        return {row["request_id"]: row["cost_usd"] for row in rows}
