"""A database that does not answer is an error in time, never a hang."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from shared.postgres.database import Database, DatabaseIncomplete, DatabaseUnavailable
from tests.upstreams.closing import accept_no_more, hang_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def silent_url() -> AsyncIterator[str]:
    """Yield a server that accepts connections and never says a word."""
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    yield f"postgresql://claw@127.0.0.1:{server.sockets[0].getsockname()[1]}/claw"
    await accept_no_more(server)
    await hang_up(connections)


async def test_nobody_listening_is_unavailable() -> None:
    """Port 1 refuses; entering the context did not mind."""
    async with Database("postgresql://claw@127.0.0.1:1/claw") as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def test_a_silent_server_is_unavailable_in_time(silent_url: str) -> None:
    """Connecting is bounded too."""
    async with Database(silent_url, acquire_timeout_s=0.2) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def test_a_slow_statement_is_cut(database_url: str) -> None:
    """And the connection is good again afterwards."""
    async with Database(database_url, command_timeout_s=2) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.execute("SELECT pg_sleep(60)")
        await database.ping()


async def test_a_busy_pool_is_unavailable_in_time(database_url: str) -> None:
    """Nobody waits longer than the bound for a connection."""
    async with Database(database_url, max_connections=1, acquire_timeout_s=2) as database, database.connection():
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def test_a_connection_that_is_killed_is_replaced(database: Database) -> None:
    """What PostgreSQL does to its clients when it is shut down."""
    with pytest.raises(DatabaseUnavailable):
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    await database.ping()


async def test_a_connection_lost_between_two_statements_is_unavailable(database: Database) -> None:
    """To asyncpg this is an error in the use of its interface."""

    async def lose() -> None:
        async with database.connection() as connection:
            connection.terminate()
            await connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        await lose()
    await database.ping()


async def test_a_wrong_database_is_unavailable(postgres_url: str) -> None:
    """The operator may still be about to make it."""
    url = urlunsplit(urlsplit(postgres_url)._replace(path="/nowhere"))
    async with Database(url) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def test_what_postgresql_refuses_is_reported_apart_from_a_server_that_is_down(database: Database) -> None:
    """With its own text; the tables that the api reads are named when they are away."""
    with pytest.raises(DatabaseIncomplete, match='relation "nowhere" does not exist'):
        await database.execute("SELECT * FROM nowhere")
    await database.check()
    await database.execute("ALTER TABLE np_claw_routing RENAME TO away")
    with pytest.raises(DatabaseIncomplete, match="the table np_claw_routing is missing"):
        await database.check()


async def test_a_defect_of_ours_is_not_called_unavailable(database: Database) -> None:
    """Wrong values and wrong calls must not look like a server that is down."""
    with pytest.raises(asyncpg.DataError):
        await database.execute("SELECT 1 / 0")
    with pytest.raises(asyncpg.InterfaceError):
        await database.execute("SELECT $1::int", 1, 2)


async def test_a_closed_database_is_unavailable(database_url: str) -> None:
    """Before the context and after it."""
    database = Database(database_url)
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    async with database:
        await database.ping()
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
