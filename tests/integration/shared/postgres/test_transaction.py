"""Transactions that parts of a task join without being given them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from shared.postgres.database import Database, DatabaseUnavailable
from shared.postgres.transaction import after_commit, begun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TABLE = "CREATE TABLE made (n integer PRIMARY KEY)"
ADD = "INSERT INTO made VALUES ($1)"


async def numbers(database: Database) -> list[int]:
    """Return what anybody else sees."""
    async with database.pooled_connection() as connection:
        return [row["n"] for row in await connection.fetch("SELECT n FROM made ORDER BY n")]


async def add_all(database: Database, *found: int) -> None:
    """Add numbers in a transaction, as a store does that knows of no outer one."""
    async with database.connection() as connection, connection.transaction():
        for number in found:
            await connection.execute(ADD, number)


def says(said: list[str], word: str) -> Callable[[], Awaitable[None]]:
    """Return a step that leaves a word."""

    async def say() -> None:
        said.append(word)

    return say


async def test_what_a_task_does_is_seen_at_its_end(database: Database) -> None:
    """By others; what follows comes after that, and what is in no transaction follows at once."""
    await database.execute(TABLE)
    said: list[str] = []
    async with begun(database) as transaction:
        assert not transaction.has_begun
        await after_commit(says(said, "follows"))
        await database.execute(ADD, 1)
        await add_all(database, 2)
        assert transaction.has_begun
        assert await numbers(database) == []
        assert said == []
    assert await numbers(database) == [1, 2]
    await after_commit(says(said, "at once"))
    assert said == ["follows", "at once"]


async def test_an_exception_undoes_all_of_it(database: Database) -> None:
    """Nothing follows."""
    await database.execute(TABLE)
    said: list[str] = []

    async def change() -> None:
        async with begun(database):
            await database.execute(ADD, 1)
            await after_commit(says(said, "follows"))
            raise LookupError

    with pytest.raises(LookupError):
        await change()
    assert (await numbers(database), said) == ([], [])
    await database.execute(ADD, 1)
    assert await numbers(database) == [1]


async def test_an_inner_failure_that_is_caught_undoes_itself_alone(database: Database) -> None:
    """A store that made a transaction of its own goes on as without an outer one."""
    await database.execute(TABLE)
    async with begun(database):
        await database.execute(ADD, 1)
        with pytest.raises(asyncpg.UniqueViolationError):
            await add_all(database, 2, 1)
        await database.execute(ADD, 3)
    assert await numbers(database) == [1, 3]


async def test_a_task_that_outlives_it_is_on_its_own(database: Database) -> None:
    """It has the transaction in its context still."""
    await database.execute(TABLE)
    is_over = asyncio.Event()

    async def later() -> None:
        await is_over.wait()
        await database.execute(ADD, 1)

    async with begun(database):
        await database.execute(ADD, 2)
        task = asyncio.create_task(later())
    is_over.set()
    await task
    assert await numbers(database) == [1, 2]


async def test_without_postgresql_it_is_unavailable(database: Database) -> None:
    """As a statement by itself is; the connection that broke is not used again."""
    await database.execute(TABLE)
    with pytest.raises(DatabaseUnavailable):
        await break_off(database)
    await database.execute(ADD, 3)
    assert await numbers(database) == [3]


async def break_off(database: Database) -> None:
    """Lose the connection in the middle of a transaction."""
    async with begun(database):
        await database.execute(ADD, 1)
        async with database.pooled_connection() as other:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database() AND state = 'idle in transaction'"
            )
        with pytest.raises(DatabaseUnavailable):
            await database.execute(ADD, 2)
