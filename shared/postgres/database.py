"""PostgreSQL: a bounded pool whose every wait ends.

Whatever keeps the server from answering (down, frozen, full, starting up) is `DatabaseUnavailable`, for which callers
answer 503 or try again later. So is what it refuses for its own state, not for the values it was given (a table is away
during a restore, a right is missing, its disk is full): `DatabaseIncomplete`, whose text says what. Both are logged
here, once. Entering the context connects to nothing, so a process starts without PostgreSQL too.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import asyncpg

from shared.postgres import queries
from shared.postgres.migrations import STEP_TIMEOUT_S, SchemaError, apply_schema, load_schema
from shared.postgres.transaction import joined
from shared.process.outage import OutageLog
from shared.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from types import TracebackType

    from asyncpg.pool import Pool, PoolConnectionProxy

__all__ = ["UNSTORABLE", "Database", "DatabaseIncomplete", "DatabaseUnavailable", "SchemaError"]

_log = logging.getLogger(__name__)

TABLES: Final = (
    "np_claw_api_keys",
    "np_claw_retired_secrets",
    "np_claw_api_usage",
    "np_claw_routing",
    "np_claw_gemini_accounts",
    "np_claw_system_prompts",
    "np_claw_audit_log",
    "np_claw_sessions",
    "np_claw_messages",
    "np_claw_responses",
    "np_claw_conversations",
    "np_claw_conversation_items",
    "np_claw_knowledge_state",
    "np_claw_knowledge_chunks",
    "np_claw_knowledge_documents",
    "np_claw_knowledge_notes",
    "np_claw_knowledge_failures",
    "np_claw_web_ui",
)
"""Those that every api process reads."""

_CLOSE_TIMEOUT_S: Final = 5.0
_MOST_REPORTED: Final = 100
"""Refusals of different texts that are logged until all is well again."""
_UNAVAILABLE: Final = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # it starts, ends or has cancelled the statement
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,  # there is no such database, yet
    asyncpg.ReadOnlySQLTransactionError,  # a standby's answer
    asyncpg.InternalClientError,
)
UNSTORABLE: Final = asyncpg.CharacterNotInRepertoireError
"""Errors that are raised where a text has a NUL, which PostgreSQL neither stores nor looks for."""
_ABOUT_VALUES: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot answer now; the same call may succeed later.

    Attributes:
        public: why, for whoever asked.
    """

    public = "does not answer"


class DatabaseIncomplete(DatabaseUnavailable):
    """PostgreSQL refuses statements for the state that it is in; the text says which. The same call may succeed later.

    Args:
        text: what PostgreSQL said; without values, so that it can be logged and shown to the operator.
        is_disk_full: whether it has no space left on its disk.
    """

    public = "refuses it, which the operator's log and /ready explain"

    def __init__(self, text: str, *, is_disk_full: bool = False) -> None:
        super().__init__(text)
        if is_disk_full:
            self.public = "has no space left on its disk"


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
        self._outage = OutageLog(_log, "PostgreSQL")
        self._refusals: set[str] = set()

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(
            self._url,
            # Connects to nothing at the start, so that processes start without PostgreSQL.
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
            # close() waits for statements that may never end.
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """Return the connection of the transaction that the task is in (`transaction.py`), else one of the pool.

        Raises:
            DatabaseUnavailable: none can be had in time, or it broke, or a statement took too long.
            DatabaseIncomplete: a statement was refused for the database's state, not for its values.
        """
        transaction = joined(self)
        if transaction is None:
            async with self.pooled_connection() as connection:
                yield connection
        else:
            connection = await transaction.connection()
            with self._reported(connection):
                yield connection

    @asynccontextmanager
    async def pooled_connection(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """Return a connection of the pool, in no transaction; the errors are those of `connection`."""
        if self._pool is None:
            raise DatabaseUnavailable("The database is closed.")
        with self._reported():
            async with self._pool.acquire(timeout=self._acquire_timeout_s) as connection:
                with self._reported(connection):
                    yield connection

    @contextmanager
    def _reported(self, connection: PoolConnectionProxy[Any] | None = None) -> Iterator[None]:
        """Raise what callers have to know of a failure; log it."""
        try:
            yield
        except asyncpg.InterfaceError as error:
            # asyncpg says so of a lost connection, and of a mistake of ours, which does not go away.
            if connection is not None and _is_lost(connection):
                raise DatabaseUnavailable("The connection to PostgreSQL was lost.") from error
            raise
        except _UNAVAILABLE as error:
            self._outage.failed(error)
            raise DatabaseUnavailable(f"PostgreSQL does not answer: {type(error).__name__}.") from error
        # Before PostgresError, whose subclasses they are: these values would be refused in any state.
        except _ABOUT_VALUES:
            raise
        except asyncpg.PostgresError as error:
            # A refusal is an answer: the server is there.
            self._outage.answered()
            self._report_fault(str(error))
            raise DatabaseIncomplete(str(error), is_disk_full=isinstance(error, asyncpg.DiskFullError)) from error
        else:
            self._outage.answered()

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

    async def check(self) -> None:
        """Return if PostgreSQL answers, and has tables that may be read.

        Raises:
            DatabaseUnavailable: it does not answer.
            DatabaseIncomplete: it answers, and lacks something; the text names it.
        """
        lacking = await self.fetch(queries.LACKING_TABLES, TABLES)
        if lacking:
            lacks = [
                f"the table {row['name']} {'is missing' if row['is_missing'] else 'may not be read'}" for row in lacking
            ]
            text = ", ".join(lacks)
            self._report_fault(text)
            raise DatabaseIncomplete(text)
        # What is refused again after all was well is news again.
        self._refusals.clear()

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

    def _report_fault(self, text: str) -> None:
        if text not in self._refusals and len(self._refusals) < _MOST_REPORTED:
            self._refusals.add(text)
            _log.error("PostgreSQL refuses: %s", text)


def _is_lost(connection: PoolConnectionProxy[Any]) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # already taken back by the pool
        return True
