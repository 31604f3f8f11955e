"""Stored conversations: np_claw_conversations and np_claw_conversation_items."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import msgspec

from shared.postgres.responses import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from shared.postgres.database import Database

MOST_ITEMS: Final = 5_000
"""Of one conversation."""
MOST_ITEM_BYTES: Final = 16 * 1024 * 1024
"""Of all items of one conversation, as JSON."""


class Item(NamedTuple):
    """An item of a conversation: its id, and its JSON."""

    id: str
    item: str


class ConversationItem(NamedTuple):
    """An item as it is stored, with the response that it is from; None where a client added it."""

    response_id: UUID | None
    id: str
    item: str


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation without its items; `metadata` is JSON."""

    id: UUID
    metadata: str
    created_at: datetime


class FullConversation(Exception):
    """A conversation has no room for what should be added to it."""


class ConversationStore:
    """The tables. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer.

    Of another key's conversation they say the same as of one that is not there.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, conversation_id: UUID, key_id: UUID | None, metadata: str, items: Sequence[Item]) -> None:
        """Create a conversation with these items.

        Raises:
            FullConversation: they are too many.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.fetchrow(queries.CREATE_CONVERSATION, conversation_id, key_id, metadata)
            await ConversationWriter(connection, conversation_id, key_id).add(items)

    async def find(self, conversation_id: UUID, key_id: UUID | None) -> Conversation | None:
        """Return a conversation, None where the key has none of this id."""
        row = await self._database.fetchrow(queries.FIND_CONVERSATION, conversation_id, key_id)
        return None if row is None else Conversation(**row)

    async def update(self, conversation_id: UUID, key_id: UUID | None, metadata: str) -> Conversation | None:
        """Set the metadata of a conversation; return it, None where there is none."""
        row = await self._database.fetchrow(queries.UPDATE_CONVERSATION, conversation_id, key_id, metadata)
        return None if row is None else Conversation(**row)

    async def delete(self, conversation_id: UUID, key_id: UUID | None) -> bool:
        """Delete a conversation with its items; return whether there was one."""
        return await self._database.fetchrow(queries.DELETE_CONVERSATION, conversation_id, key_id) is not None

    async def items(self, conversation_id: UUID) -> list[ConversationItem]:
        """Return the items of a conversation, in their order."""
        rows = await self._database.fetch(queries.LIST_ITEMS, conversation_id)
        return [ConversationItem(**row) for row in rows]

    async def page(
        self, conversation_id: UUID, after: str | None, limit: int, *, is_descending: bool
    ) -> list[ConversationItem]:
        """Return so many items of a conversation after this one, or from where the order begins."""
        query = queries.NEWEST_ITEMS if is_descending else queries.OLDEST_ITEMS
        rows = await self._database.fetch(query, conversation_id, after, limit)
        return [ConversationItem(**row) for row in rows]

    async def item(self, conversation_id: UUID, item_id: str) -> ConversationItem | None:
        """Return an item of a conversation, None where it has none of this id."""
        row = await self._database.fetchrow(queries.FIND_ITEM, conversation_id, item_id)
        return None if row is None else ConversationItem(**row)

    async def having_items(self, conversation_id: UUID, response_ids: Sequence[UUID]) -> set[UUID]:
        """Return which of these responses have items in a conversation."""
        rows = await self._database.fetch(queries.STORED_OF, conversation_id, list(response_ids))
        return {row["response_id"] for row in rows}

    async def add(self, conversation_id: UUID, key_id: UUID | None, items: Sequence[Item]) -> bool:
        """Add items to a conversation; return False where there is none.

        Raises:
            FullConversation: it has no room for them.
        """
        async with self._database.connection() as connection, connection.transaction():
            return await ConversationWriter(connection, conversation_id, key_id).add(items)

    async def delete_item(
        self, conversation_id: UUID, key_id: UUID | None, item_id: str
    ) -> tuple[Conversation | None, bool]:
        """Delete an item; return its conversation, None where there is none, and whether it was there."""
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(queries.LOCK_CONVERSATION, conversation_id, key_id)
            if row is None:
                return None, False
            was_there = await connection.fetchrow(queries.DELETE_ITEM, conversation_id, item_id) is not None
            return Conversation(**row), was_there


class ConversationWriter:
    """Writes items to one conversation, inside a transaction.

    Args:
        connection: it is in the transaction.
        conversation_id: the conversation's.
        key_id: whose it must be.
    """

    def __init__(self, connection: PoolConnectionProxy[Any], conversation_id: UUID, key_id: UUID | None) -> None:
        self._connection = connection
        self._conversation_id = conversation_id
        self._key_id = key_id

    async def add(self, items: Sequence[Item]) -> bool:
        """Add items after all others; return False where there is no such conversation.

        Raises:
            FullConversation: it has no room for them.
        """
        if not await self._is_there():
            return False
        count, size, following = await self._counted()
        size += sum(len(each.item.encode()) for each in items)
        if count + len(items) > MOST_ITEMS or size > MOST_ITEM_BYTES:
            raise FullConversation
        await self._add(items, following, None)
        return True

    async def replace(self, response_id: UUID, items: Sequence[Item]) -> None:
        """Write the items of a response after all others, instead of what it has there already.

        Where there is no such conversation, nothing is written. The bound is that of the request: it was admitted, so
        what it brought and was answered is kept.
        """
        if not await self._is_there():
            return
        await self._connection.execute(queries.FORGET_RESPONSE, self._conversation_id, response_id)
        _, _, following = await self._counted()
        await self._add(items, following, response_id)

    async def _is_there(self) -> bool:
        row = await self._connection.fetchrow(queries.LOCK_CONVERSATION, self._conversation_id, self._key_id)
        return row is not None

    async def _counted(self) -> tuple[int, int, int]:
        """Return how many items there are, their bytes, and the position after them."""
        (row,) = await self._connection.fetch(queries.COUNT_ITEMS, self._conversation_id)
        return row["items"], row["bytes"], row["next"]

    async def _add(self, items: Sequence[Item], first: int, response_id: UUID | None) -> None:
        rows = [
            (self._conversation_id, first + number, response_id, each.id, each.item)
            for number, each in enumerate(items)
        ]
        await self._connection.executemany(queries.ADD_ITEM, rows)
