"""Chunks, documents and notes of the knowledge base."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from shared.postgres.knowledge import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from shared.postgres.database import Database

BUILT_IN: Final = "builtin"
USED: Final = "used"


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of knowledge, as it is searched and shown; `user_notes` are the operator's."""

    id: str
    category: str
    title: str
    content: str
    keywords: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    source: str = ""
    user_notes: tuple[str, ...] = ()


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's note on a chunk."""

    id: str
    chunk_id: str
    note: str
    created_at: datetime


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document of the operator's, and how many chunks it is; `hash` tells whether its file has changed since."""

    id: str
    name: str
    hash: str
    chunks: int
    created_at: datetime
    updated_at: datetime


class Scope(msgspec.Struct, frozen=True):
    """The scope of a search: one category or all, and only what the gateway brings itself, without notes, or all."""

    category: str | None = None
    is_built_in: bool = False


class KnowledgeStore:
    """The tables. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_built_in(self, chunks: Sequence[Chunk], version: str) -> bool:
        """Store what the gateway brings itself, and remove what it does not bring any more.

        Args:
            chunks: all of it.
            version: of it: nothing is done where that is there already.

        Returns:
            Whether something was done.
        """
        async with self._database.connection() as connection, connection.transaction():
            # Each api process stores it once, and several may be at it together.
            await connection.execute(queries.LOCK)
            if await connection.fetchval(queries.STATE, BUILT_IN) == version:
                return False
            await connection.execute(queries.PUT_BUILT_IN, _to_json(chunks))
            await connection.execute(queries.REMOVE_OLD_BUILT_IN, [chunk.id for chunk in chunks])
            await connection.execute(queries.SET_STATE, BUILT_IN, version)
            # The search wants to know how frequent words are; what is added later, autovacuum counts.
            await connection.execute(queries.COUNT_WORDS)
            return True

    async def state(self, name: str) -> str | None:
        """Return a value that all processes share; None where it was never set."""
        row = await self._database.fetchrow(queries.STATE, name)
        return None if row is None else row["value"]

    async def set_state(self, name: str, value: str) -> None:
        """Set a value that all processes share."""
        await self._database.execute(queries.SET_STATE, name, value)

    async def search_text(self, question: str, scope: Scope, limit: int) -> list[str]:
        """Return the ids of the chunks that have most of a question's words, the rarer the better, the best first."""
        query = queries.SEARCH_BUILT_IN_TEXT if scope.is_built_in else queries.SEARCH_TEXT
        rows = await self._database.fetch(query, question, scope.category, limit)
        return [row["id"] for row in rows]

    async def chunks(self, ids: Sequence[str]) -> list[Chunk]:
        """Return chunks by id, in the order of the ids; without those that are gone."""
        rows = {row["id"]: row for row in await self._database.fetch(queries.CHUNKS_BY_ID, list(ids))}
        return [_chunk(rows[each]) for each in ids if each in rows]

    async def page(self, scope: Scope, limit: int, after: str | None = None) -> list[Chunk]:
        """Return chunks by category and id.

        Args:
            scope: which.
            limit: how many at the most.
            after: the id of the last one that was seen.
        """
        rows = await self._database.fetch(queries.LIST_CHUNKS, scope.category, scope.is_built_in, after, limit)
        return [_chunk(row) for row in rows]

    async def categories(self, *, is_built_in: bool) -> dict[str, int]:
        """Return how many chunks each category has."""
        rows = await self._database.fetch(queries.CATEGORIES, is_built_in)
        return {row["category"]: row["chunks"] for row in rows}

    async def add_note(self, chunk_id: str, note: str) -> str | None:
        """Add a note to a chunk; return its id, None where there is no such chunk."""
        row = await self._database.fetchrow(queries.ADD_NOTE, chunk_id, note)
        return None if row is None else str(row["id"])

    async def notes(self, chunk_id: str | None, limit: int) -> list[Note]:
        """Return the notes of a chunk, or of all, in the order they were made."""
        rows = await self._database.fetch(queries.LIST_NOTES, chunk_id, limit)
        return [Note(**{**row, "id": str(row["id"])}) for row in rows]

    async def remove_note(self, note_id: UUID) -> bool:
        """Remove a note; False where there is none with this id."""
        return await self._database.fetchrow(queries.REMOVE_NOTE, note_id) is not None

    async def documents(self, limit: int, after: str | None = None) -> list[Document]:
        """Return documents by name, those after the name `after`."""
        rows = await self._database.fetch(queries.LIST_DOCUMENTS, after, limit)
        return [Document(**{**row, "id": str(row["id"])}) for row in rows]

    async def put_document(self, name: str, digest: str, chunks: Sequence[Chunk]) -> str:
        """Store a document in the place of the one that had its name; return its id."""
        async with self._database.connection() as connection, connection.transaction():
            document_id = await connection.fetchval(queries.PUT_DOCUMENT, name, digest)
            await connection.execute(queries.REMOVE_OLD_OF_DOCUMENT, document_id, [chunk.id for chunk in chunks])
            await connection.execute(queries.PUT_OF_DOCUMENT, _to_json(chunks), document_id)
            return str(document_id)

    async def remove_document(self, document_id: UUID) -> str | None:
        """Remove a document with its chunks and their notes; return its name, None where there is none."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(queries.REMOVE_NOTES_OF_DOCUMENT, document_id)
            name: str | None = await connection.fetchval(queries.REMOVE_DOCUMENT, document_id)
            return name


def _to_json(chunks: Sequence[Chunk]) -> str:
    return msgspec.json.encode(chunks).decode()


def _chunk(row: asyncpg.Record) -> Chunk:
    return msgspec.convert(dict(row), Chunk)
