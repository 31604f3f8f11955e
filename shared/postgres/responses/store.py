"""Stored responses: np_claw_responses.

Each is written whole, and again where something better is known of it: under its id it stands once. Nobody sees those
of another key: to him they do not exist.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from shared.postgres.responses import queries
from shared.postgres.responses.conversations import ConversationWriter, Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from shared.postgres.database import Database

MOST_CHAIN_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a chain of responses that are read: more than the longest context that there is holds."""
MOST_CHAIN: Final = 1_000
"""Number of its responses that are read."""
MOST_REFERRED: Final = 200
"""In how many responses the items that one request refers to may be."""


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as it is stored: `input` is a JSON list, `body` the response object's JSON."""

    id: UUID
    key_id: UUID | None
    previous_id: UUID | None = None
    root_id: UUID
    conversation_id: UUID | None = None
    input: str
    body: str
    created_at: datetime


class LongChain(Exception):
    """A chain of responses is too long to be read."""


class ResponseStore:
    """The tables. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, response_id: UUID, key_id: UUID | None) -> StoredResponse | None:
        """Return a response of a key, None where it has none of this id."""
        row = await self._database.fetchrow(queries.FIND_RESPONSE, response_id, key_id)
        return None if row is None else StoredResponse(**row)

    async def chain(self, response_id: UUID, key_id: UUID | None) -> list[StoredResponse]:
        """Return a response with those before it that are here, the first one first; nothing where it is not.

        Raises:
            LongChain: it has more than `MOST_CHAIN` responses, or more than `MOST_CHAIN_BYTES`.
        """
        rows = await self._database.fetch(queries.CHAIN, response_id, key_id, MOST_CHAIN_BYTES, MOST_CHAIN)
        if not rows:
            return []
        if len(rows) > MOST_CHAIN or rows[0]["bytes_so_far"] > MOST_CHAIN_BYTES:
            raise LongChain
        return [_response(row, key_id) for row in rows]

    async def having(self, item_ids: Sequence[str], key_id: UUID | None) -> list[tuple[str, str]]:
        """Return input and body of the responses of a key that have any of these items, the newest first."""
        rows = await self._database.fetch(queries.FIND_ITEMS, key_id, list(item_ids), MOST_REFERRED)
        return [(row["input"], row["body"]) for row in rows]

    async def write(self, response: StoredResponse, item_ids: Sequence[str], items: Sequence[Item]) -> None:
        """Write a response in place of what is stored under its id, and its items into its conversation.

        Args:
            response: what is stored.
            item_ids: of what it was asked and answered.
            items: what becomes part of its conversation, where it has one.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                queries.UPSERT_RESPONSE,
                response.id,
                response.key_id,
                response.previous_id,
                response.root_id,
                response.conversation_id,
                response.input,
                response.body,
                list(item_ids),
                response.created_at,
            )
            if response.conversation_id is not None:
                writer = ConversationWriter(connection, response.conversation_id, response.key_id)
                await writer.replace(response.id, items)

    async def delete(self, response_id: UUID, key_id: UUID | None) -> bool:
        """Delete a response of a key; return whether there was one."""
        return await self._database.fetchrow(queries.DELETE_RESPONSE, response_id, key_id) is not None


def _response(row: asyncpg.Record, key_id: UUID | None) -> StoredResponse:
    fields = {name: row[name] for name in StoredResponse.__struct_fields__ if name != "key_id"}
    return StoredResponse(key_id=key_id, **fields)
