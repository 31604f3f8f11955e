"""Changes of several parts of a process that are one: a store's, and the entry in the audit log about it.

Whatever a task does in the database between the beginning and the end of a `Transaction` belongs to it, without having
been given it. It has no connection before its first statement, so that a slow body holds none. What shall follow only
when all of it stands (news of a change, whose readers ask PostgreSQL again) is given to `after_commit`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from asyncpg.pool import PoolConnectionProxy

    _Step = Callable[[], Awaitable[None]]


class Pool(Protocol):
    """The source of a transaction's connection: a `Database`."""

    def pooled_connection(self) -> AbstractAsyncContextManager[PoolConnectionProxy[Any]]:
        """Return a connection of the pool, in no transaction."""


_current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)


class Transaction:
    """One of them. Made by `begun`.

    Args:
        database: whose statements belong to it.
        stack: ends it.
    """

    def __init__(self, database: Pool, stack: AsyncExitStack) -> None:
        self.database = database
        self._stack = stack
        self._connection: PoolConnectionProxy[Any] | None = None
        self.steps: list[_Step] = []
        self.is_over = False

    @property
    def has_begun(self) -> bool:
        """Return whether there was a statement."""
        return self._connection is not None

    async def connection(self) -> PoolConnectionProxy[Any]:
        """Return its connection.

        Raises:
            DatabaseUnavailable: none can be had.
        """
        if self._connection is None:
            connection = await self._stack.enter_async_context(self.database.pooled_connection())
            await self._stack.enter_async_context(connection.transaction())
            self._connection = connection
        return self._connection


@asynccontextmanager
async def begun(database: Pool) -> AsyncIterator[Transaction]:
    """Begin a transaction that ends with the context: with an exception, nothing was changed and nothing follows.

    Raises:
        DatabaseUnavailable: it could not be committed.
    """
    async with AsyncExitStack() as stack:
        transaction = Transaction(database, stack)
        token = _current.set(transaction)
        try:
            yield transaction
        finally:
            # Tasks that were started meanwhile have it in their context for good.
            transaction.is_over = True
            _current.reset(token)
    for step in transaction.steps:
        await step()


def joined(database: Pool) -> Transaction | None:
    """Return the transaction that this task's statements belong to, if any."""
    transaction = _current.get()
    if transaction is None or transaction.is_over or transaction.database is not database:
        return None
    return transaction


async def after_commit(step: _Step) -> None:
    """Do something once what this task has changed is there for everybody: now, where it is in no transaction."""
    transaction = _current.get()
    if transaction is None or transaction.is_over:
        await step()
    else:
        transaction.steps.append(step)
