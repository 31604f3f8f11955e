"""All that is known of a key: given out in pages, and taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from shared.postgres import erasure_queries, queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from shared.postgres.database import Database

NOBODY: Final = UUID(int=0)
"""The key_id of usage whose key was erased."""
PAGE: Final = 200
RESPONSES_PAGE: Final = 10
"""A response may be some MiB."""
BATCH: Final = 5000
_FIRST: Final = UUID(int=0)


class KeyRecords:
    """The records of one key in the database. Its methods raise `DatabaseUnavailable` while PostgreSQL cannot answer.

    Args:
        database: where it is.
        key_id: whose.
    """

    def __init__(self, database: Database, key_id: UUID) -> None:
        self._database = database
        self._key_id = key_id

    async def key(self) -> dict[str, Any] | None:
        """Return its settings; None if there is no such key."""
        row = await self._database.fetchrow(erasure_queries.EXPORTED_KEY, self._key_id)
        return None if row is None else dict(row)

    async def sessions(self) -> AsyncIterator[asyncpg.Record]:
        async for row in self._by_id(erasure_queries.EXPORTED_SESSIONS, PAGE):
            yield row

    async def messages(self, session_id: UUID) -> AsyncIterator[asyncpg.Record]:
        """Return the messages of a session, in their order."""
        async for row in self._by_position(erasure_queries.EXPORTED_MESSAGES, session_id):
            yield row

    async def responses(self) -> AsyncIterator[asyncpg.Record]:
        async for row in self._by_id(erasure_queries.EXPORTED_RESPONSES, RESPONSES_PAGE):
            yield row

    async def conversations(self) -> AsyncIterator[asyncpg.Record]:
        """Return its conversations, without their items."""
        async for row in self._by_id(erasure_queries.EXPORTED_CONVERSATIONS, PAGE):
            yield row

    async def items(self, conversation_id: UUID) -> AsyncIterator[asyncpg.Record]:
        """Return the items of a conversation, in their order."""
        async for row in self._by_position(erasure_queries.EXPORTED_ITEMS, conversation_id):
            yield row

    async def usage(self) -> AsyncIterator[asyncpg.Record]:
        """Return its rows in the usage log, the newest first."""
        before, last_seen = None, _FIRST
        while rows := await self._database.fetch(
            queries.LIST_USAGE, self._key_id, False, before, last_seen, PAGE, None
        ):
            for row in rows:
                yield row
            before, last_seen = rows[-1]["admitted_at"], rows[-1]["request_id"]

    async def erase(self) -> dict[str, int] | None:
        """Revoke the key, delete its chats and responses, make its usage nobody's, take its name out of the audit log.

        Again is no error. In one transaction where the caller is in one.

        Returns:
            How many of each were found; None if there is no such key.
        """
        if await self._database.fetchrow(erasure_queries.ERASE_KEY, self._key_id) is None:
            return None
        await self._database.execute(erasure_queries.DELETE_RETIRED, self._key_id)
        sessions = await self._in_batches(erasure_queries.DELETE_SESSIONS, PAGE)
        responses = await self._in_batches(erasure_queries.DELETE_RESPONSES, PAGE)
        conversations = await self._in_batches(erasure_queries.DELETE_CONVERSATIONS, PAGE)
        usage = await self._in_batches(erasure_queries.ANONYMISE_USAGE, BATCH)
        row = await self._database.fetchrow(erasure_queries.ERASE_FROM_AUDIT, self._key_id)
        return {
            "sessions": sessions,
            "responses": responses,
            "conversations": conversations,
            "usage": usage,
            "audit_entries": row["entries"] if row else 0,
        }

    async def _by_id(self, query: str, page: int) -> AsyncIterator[asyncpg.Record]:
        after = None
        while rows := await self._database.fetch(query, self._key_id, after, page):
            for row in rows:
                yield row
            after = rows[-1]["id"]

    async def _by_position(self, query: str, owner_id: UUID) -> AsyncIterator[asyncpg.Record]:
        after = -1
        while rows := await self._database.fetch(query, owner_id, after, PAGE):
            for row in rows:
                yield row
            after = rows[-1]["position"]

    async def _in_batches(self, query: str, size: int) -> int:
        """Run a statement until it finds nothing more; each is short enough for its time limit."""
        found = 0
        while batch := len(await self._database.fetch(query, self._key_id, size)):
            found += batch
        return found
