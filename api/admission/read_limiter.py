"""A limit on stored data that a key reads at a time: it may be large, and is read before a request is admitted."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from shared.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

READS_OF_KEY: Final = 2
"""Each has 16 MiB of items at the most, and several times as much while they are put together."""

WAIT_S: Final = 5.0
"""Time that a read waits for its turn: while PostgreSQL stands still, nobody waits for the waits of all others."""
RETRY_S: Final = 2.0


class ReadLimiter:
    """The reads of this process. Those of a key beyond `READS_OF_KEY` wait for their turn; other keys do not notice."""

    def __init__(self) -> None:
        self._rooms: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of a key, and have it for as long as the context lasts.

        Raises:
            RateLimited: those before it take too long.
        """
        room = self._rooms.setdefault(owner, asyncio.Semaphore(READS_OF_KEY))
        # Who waits counts too: else the room would go from under him, and another be made beside it.
        self._users[owner] += 1
        try:
            try:
                async with asyncio.timeout(WAIT_S):
                    await room.acquire()
            except TimeoutError:
                text = "Too many requests of this key read what is stored. Try again."
                raise RateLimited(text, code="too_many_reads", retry_after_s=RETRY_S) from None
            try:
                yield
            finally:
                room.release()
        finally:
            self._users[owner] -= 1
            if not self._users[owner]:
                del self._users[owner], self._rooms[owner]


class ReadTurn:
    """The turn that a request has until it is admitted or refused; none to begin with."""

    def __init__(self) -> None:
        self._held: AsyncExitStack | None = None

    async def take(self, turn: AbstractAsyncContextManager[None]) -> None:
        """Wait for a turn, and have it."""
        self._held = self._held or AsyncExitStack()
        await self._held.enter_async_context(turn)

    async def end(self) -> None:
        """Let the next one have it."""
        if self._held is not None:
            await self._held.aclose()
