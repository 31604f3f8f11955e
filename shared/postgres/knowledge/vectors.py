"""Vectors of chunks, where PostgreSQL has pgvector."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from shared.postgres.knowledge import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.postgres.database import Database
    from shared.postgres.knowledge.store import Scope

INDEXED_FROM: Final = 5_000
"""From how many vectors on an index is worth its room: fewer are looked at one by one within a few milliseconds."""
INDEX_TIMEOUT_S: Final = 3_600.0
MOST_INDEXED_DIMENSIONS: Final = 2_000
"""HNSW takes no longer vectors."""
LOOKED_AT: Final = 100
"""Number of vectors that HNSW keeps in sight: more find more of the nearest, and take longer."""


class Unembedded(NamedTuple):
    """A chunk that a model has made no vector of, or one of an older text."""

    id: str
    hash: bytes
    text: str


class VectorStore:
    """The table, once `ensure` has made it. Methods raise `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self) -> bool:
        """Make the table where it is not there; return False where there is no pgvector."""
        row = await self._database.fetchrow(queries.ENSURE_VECTORS)
        return row is not None and bool(row["is_there"])

    async def unembedded(self, model: str, limit: int) -> list[Unembedded]:
        """Return chunks that a model has yet to make vectors of, but for those that are set aside."""
        rows = await self._database.fetch(queries.UNEMBEDDED, model, limit)
        return [Unembedded(row["id"], row["hash"], row["text"]) for row in rows]

    async def put(self, model: str, chunks: Sequence[Unembedded], vectors: Iterable[Sequence[float]]) -> None:
        """Store the vectors of chunks; those of chunks that are gone or have changed meanwhile are dropped."""
        ids = [chunk.id for chunk in chunks]
        made = list(vectors)
        texts = [_to_text(vector) for vector in made]
        await self.keep(model, len(made[0]))
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(queries.PUT_VECTORS, model, ids, [chunk.hash for chunk in chunks], texts)
            await connection.execute(queries.TAKE_BACK, model, ids)

    async def keep(self, model: str, dimensions: int) -> None:
        """Remove all vectors of a model unless they have so many numbers: another one has its name now."""
        async with self._database.connection() as connection, connection.transaction():
            held = await connection.fetchval(queries.DIMENSIONS, model)
            if held in {None, dimensions}:
                return
            name, _ = (await connection.fetchrow(queries.INDEX_NAMES, model, held)) or ("", "")
            await connection.execute(queries.DROP_INDEX.format(name=name))
            await connection.execute(queries.FORGET_VECTORS, model)

    async def set_aside(self, model: str, chunk: Unembedded, reason: str) -> None:
        """Note that a model makes no vector of a chunk: it is tried again after a while, and at once if it changes."""
        await self._database.execute(queries.SET_ASIDE, model, chunk.id, chunk.hash, reason)

    async def count_set_aside(self, model: str | None, *, is_built_in: bool = False) -> int:
        """Return of how many chunks a model, or any, makes no vector; of all or of the gateway's own."""
        row = await self._database.fetchrow(queries.COUNT_FAILURES, model, is_built_in)
        return 0 if row is None else row["count"]

    async def counts(self, *, is_built_in: bool = False) -> dict[str, int]:
        """Return by model how many chunks, of all or of the gateway's own, have a vector as they are now."""
        rows = await self._database.fetch(queries.COUNT_VECTORS, is_built_in)
        return {row["model"]: row["count"] for row in rows}

    async def dimensions(self, model: str) -> int | None:
        """Return how many numbers a vector of a model has; None where there is none."""
        row = await self._database.fetchrow(queries.DIMENSIONS, model)
        return None if row is None else row["dimensions"]

    async def remove_others(self, model: str) -> None:
        """Remove the vectors of all models but one, and what is known of chunks that these failed on."""
        await self._database.execute(queries.REMOVE_OTHER_VECTORS, model)
        await self._database.execute(queries.REMOVE_OTHER_FAILURES, model)

    async def index(self, model: str, dimensions: int) -> None:
        """Make the index of many vectors of a model, if it is not there; it takes minutes."""
        if dimensions > MOST_INDEXED_DIMENSIONS:
            return
        async with self._database.connection() as connection:
            if await connection.fetchval(queries.COUNT_TO_INDEX, model) < INDEXED_FROM:
                return
            name, literal = (await connection.fetchrow(queries.INDEX_NAMES, model, dimensions)) or ("", "")
            if await connection.fetchval(queries.HAS_INDEX, name):
                return
            statement = queries.INDEX_VECTORS.format(name=name, dimensions=int(dimensions), model=literal)
            await connection.execute(statement, timeout=INDEX_TIMEOUT_S)

    async def nearest(self, model: str, vector: Sequence[float], scope: Scope, limit: int) -> list[str]:
        """Return the ids of the chunks whose vectors are nearest to one, the nearest first; none of another length."""
        is_all = scope.category is None and not scope.is_built_in
        query = (queries.NEAREST if is_all else queries.NEAREST_IN_SCOPE).format(dimensions=len(vector))
        scoped = () if is_all else (scope.category, scope.is_built_in)
        with suppress(asyncpg.DataError):  # made by two models that have one name
            async with self._database.connection() as connection, connection.transaction():
                # Ends with the transaction: the connection is everybody's. HNSW finds no more than it keeps in sight.
                await connection.execute(queries.LOOK_AT, str(max(LOOKED_AT, limit)))
                rows = await connection.fetch(query, model, _to_text(vector), limit, *scoped)
            return [row["chunk_id"] for row in rows]
        return []


def _to_text(vector: Sequence[float]) -> str:
    """Return a vector as pgvector reads it."""
    return f"[{','.join(map(repr, vector))}]"
