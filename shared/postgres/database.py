"""PostgreSQL: a bounded pool whose every wait ends.

Whatever keeps the server from answering (down, frozen, full, starting up) is `DatabaseUnavailable`, for which callers
answer 503 or try again later. Entering the context connects to nothing, so a process starts without PostgreSQL too.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import asyncpg

from shared.postgres import queries
from shared.postgres.migrations import STEP_TIMEOUT_S, SchemaError, apply_schema, load_schema
from shared.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

    from asyncpg.pool import Pool, PoolConnectionProxy

__all__ = ["Database", "DatabaseUnavailable", "SchemaError"]

_CLOSE_TIMEOUT_S: Final = 5.0
_UNAVAILABLE: Final = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
)


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot answer now; the same call may succeed later."""


class Database:
    """A PostgreSQL database, as an async context manager.

    Args:
        url: postgresql://...
        max_connections: the pool's bound.
        acquire_timeout_s: how long to wait for a free connection, connecting included.
        command_timeout_s: how long one statement may take.
    """

    def __init__(
        self,
        url: str,
        *,
        max_connections: int = 8,
        acquire_timeout_s: float = 3.0,
        command_timeout_s: float = 10.0,
    ) -> None:
        self._url = url
        self._max_connections = max_connections
        self._acquire_timeout_s = acquire_timeout_s
        self._command_timeout_s = command_timeout_s
        self._pool: Pool[Any] | None = None

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._max_connections,
            timeout=self._acquire_timeout_s,
            command_timeout=self._command_timeout_s,
            server_settings={"application_name": "nself-claw"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await pool.close()
        except _UNAVAILABLE:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """Return a connection of the pool.

        Raises:
            DatabaseUnavailable: none can be had in time, or it broke, or a statement took too long.
        """
        if self._pool is None:
            raise DatabaseUnavailable("The database is closed.")
        try:
            async with self._pool.acquire(timeout=self._acquire_timeout_s) as connection:
                try:
                    yield connection
                except asyncpg.InterfaceError as error:
                    if _is_lost(connection):
                        raise DatabaseUnavailable("The connection to PostgreSQL was lost.") from error
                    raise
        except _UNAVAILABLE as error:
            raise DatabaseUnavailable(f"PostgreSQL does not answer: {type(error).__name__}.") from error

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Return all rows of a query.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now.
        """
        async with self.connection() as connection:
            return await connection.fetch(query, *values)

    async def fetchrow(self, query: str, *values: object) -> asyncpg.Record | None:
        """Return the first row of a query, or None.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now.
        """
        async with self.connection() as connection:
            return await connection.fetchrow(query, *values)

    async def execute(self, query: str, *values: object) -> None:
        """Run a statement.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now.
        """
        async with self.connection() as connection:
            await connection.execute(query, *values)

    async def ping(self) -> None:
        """Return if PostgreSQL answers.

        Raises:
            DatabaseUnavailable: it does not.
        """
        await self.execute(queries.PING)

    async def migrate(self, root: Path = PROJECT_ROOT) -> int:
        """Bring the schema to the newest version, whatever it is now; safe from any number of processes at once.

        Args:
            root: the folder of `schema.sql` and `migrations/`.

        Returns:
            The version that the database then has.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now; what was done stays whole.
            SchemaError: the files or the database are not what they must be.
        """
        schema = load_schema(root)
        async with self.connection() as connection, asyncio.timeout(STEP_TIMEOUT_S):
            return await apply_schema(connection, schema)


def _is_lost(connection: PoolConnectionProxy[Any]) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # already taken back by the pool
        return True
